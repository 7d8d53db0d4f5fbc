package collect

import (
	"bytes"
	"encoding/csv"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestCSVIsWhatRFC4180Says(t *testing.T) {
	var b bytes.Buffer
	if err := writeCSV(&b, twoPoints()); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"mode,x.y,axis.status,qps,repeat,request_id,prompt_tokens,output_tokens,scheduled_ns,sent_ns,first_event_ns,first_token_ns,last_token_ns," +
			"ttft_s,tpot_s,e2e_s,gaps_us,events,finish_reason,outcome,status,error,prefill_instance,decode_instance,prefill_time_s,fallback,slot_wait_s,send_lag_s,rate",
		`simple,0.10,s,0.5,1,r0,,5,,0,,100000000,300000000,0.1,0.05,,"[50,51,0,49]",0,,ok,,,,,,,,,2`,
		`simple,0.10,s,0.5,1,r1,,5,,1000000,,101000001,301000000,0.100000001,0.04999999975,,"[50,51,1,49]",0,,ok,,,,,,,,,2`,
		`nixl,,,2,0,r0,,5,,0,,100000000,300000000,0.1,0.05,,,0,,stream_error,,"a ""b"",` + "\r\n" + `c",,,,,,,2`,
		"",
	}, "\r\n")
	if got := b.String(); got != want {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
	rows, err := csv.NewReader(&b).ReadAll()
	if err != nil || len(rows) != 4 {
		t.Errorf("Go reads %d rows: %v", len(rows), err)
	}
}

func TestPythonReadsTheCSV(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.csv")
	if err := WriteCSV(path, twoPoints()); err != nil {
		t.Fatal(err)
	}
	var got []map[string]any
	python(t, "csv", `
import csv, json, sys
rows = list(csv.DictReader(open(sys.argv[1], newline="")))
print(json.dumps([dict(gaps=json.loads(r["gaps_us"] or "null"), error=r["error"], sent=int(r["sent_ns"])) for r in rows]))
`, &got, path)
	want := map[string]any{"gaps": nil, "error": "a \"b\",\r\nc", "sent": 0.0}
	if len(got) != 3 || !reflect.DeepEqual(got[2], want) || !reflect.DeepEqual(got[1]["gaps"], []any{50.0, 51.0, 1.0, 49.0}) {
		t.Errorf("got %v", got)
	}
}
