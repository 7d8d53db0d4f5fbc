package collect

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/parquet/file"
	"pgregory.net/rapid"

	"vbp/stages/sample"
)

// equalTables compares two tables, NaN equal to NaN and nil unlike empty.
func equalTables(a, b *sample.Table) error {
	x, y := reflect.ValueOf(*a), reflect.ValueOf(*b)
	for i := range x.NumField() {
		// %#v tells nil from empty, NaN from numbers and -0 from 0, and has
		// the shortest exact form of every double.
		if p, q := fmt.Sprintf("%#v", x.Field(i)), fmt.Sprintf("%#v", y.Field(i)); p != q {
			return fmt.Errorf("%s differs:\n%.2000s\n%.2000s", x.Type().Field(i).Name, p, q)
		}
	}
	return nil
}

func anyOutcome(t *rapid.T) sample.Outcome {
	whole := rapid.OneOf(rapid.Just(int64(sample.Absent)), rapid.Int64(), rapid.Int64Range(0, 1000))
	double := rapid.OneOf(rapid.Just(math.NaN()), rapid.Float64(), rapid.Just(math.Copysign(0, -1)), rapid.Just(math.Inf(1)))
	text := rapid.OneOf(rapid.Just(""), rapid.String())
	o := sample.Outcome{
		ID: text.Draw(t, "id"), PromptTokens: whole.Draw(t, "prompt"), OutputTokens: whole.Draw(t, "output"),
		Scheduled: whole.Draw(t, "scheduled"), Sent: whole.Draw(t, "sent"), FirstEvent: whole.Draw(t, "first event"),
		FirstToken: whole.Draw(t, "first token"), LastToken: whole.Draw(t, "last token"),
		SlotWait: double.Draw(t, "slot wait"), TTFT: double.Draw(t, "ttft"), TPOT: double.Draw(t, "tpot"), E2E: double.Draw(t, "e2e"),
		Events: whole.Draw(t, "events"), Finish: text.Draw(t, "finish"), Outcome: text.Draw(t, "outcome"),
		Status: whole.Draw(t, "status"), Error: text.Draw(t, "error"), Prefill: text.Draw(t, "prefill"),
		Decode: text.Draw(t, "decode"), PrefillTime: double.Draw(t, "prefill time"),
		Fallback: rapid.SampledFrom([]int64{0, 1, sample.Absent}).Draw(t, "fallback"),
	}
	switch rapid.IntRange(0, 2).Draw(t, "gaps") {
	case 0:
		o.Gaps = []int32{}
	case 1:
		o.Gaps = rapid.SliceOfN(rapid.Int32(), 1, 8).Draw(t, "gap")
	}
	return o
}

func anyMeta(t *rapid.T) sample.Meta {
	m := sample.Meta{Rate: 2.5, Repeat: 3, Seed: -1, Start: sample.Absent, Length: math.NaN()}
	if rapid.Bool().Draw(t, "full") {
		m.Axes = []sample.Axis{{Name: "mode", Value: "simple", Set: true}, {Name: "modes.nixl.x", Set: false}, {Name: "empty", Set: true}, {Name: "qps", Value: "2.5", Set: true}}
		m.Model, m.Dataset, m.Engine, m.Host = rapid.String().Draw(t, "model"), "share gpt", "vllm 0.27", "host"
		m.Start, m.Length, m.GPUs = 1776571604867101400, 60.25, 3
		m.Config = map[string]string{}
		m.Facts = map[string]float64{"nan": math.NaN(), "inf": math.Inf(-1), "x": rapid.Float64().Draw(t, "fact")}
		m.Extra = map[string]string{"": "a", "k": "\x00"}
	}
	return m
}

func TestSamplesComeBackAsTheyWere(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		in := &sample.Table{Meta: anyMeta(rt)}
		for range rapid.IntRange(0, 5).Draw(rt, "rows") {
			in.Append(anyOutcome(rt))
		}
		path := filepath.Join(dir, "deep", "er", SamplesFile)
		if err := WriteSamples(path, in); err != nil {
			rt.Fatal(err)
		}
		out, err := ReadSamples(path)
		if err != nil {
			rt.Fatal(err)
		}
		if err := equalTables(in, out); err != nil {
			rt.Fatal(err)
		}
	})
	left, err := filepath.Glob(filepath.Join(dir, "deep", "er", ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("temporary files are left: %v %v", left, err)
	}
}

// plainTable has n requests with 4 gaps each.
func plainTable(n int) *sample.Table {
	t := &sample.Table{Meta: sample.Meta{Rate: 2, Start: sample.Absent, Length: math.NaN()}}
	for i := range n {
		o := sample.NewOutcome(fmt.Sprint("r", i))
		o.Outcome, o.OutputTokens, o.Sent = sample.OK, 5, int64(i)*1e6
		o.FirstToken, o.LastToken = o.Sent+1e8+int64(i), o.Sent+3e8
		o.Gaps = []int32{50, 51, int32(i), 49}
		o.Derive()
		t.Append(o)
	}
	return t
}

func TestManyRowGroupsComeBackInOrder(t *testing.T) {
	in := plainTable(groupRows + 3)
	path := filepath.Join(t.TempDir(), SamplesFile)
	if err := WriteSamples(path, in); err != nil {
		t.Fatal(err)
	}
	out, err := ReadSamples(path)
	if err != nil {
		t.Fatal(err)
	}
	if out.Len() != in.Len() {
		t.Fatalf("%d rows came back, want %d", out.Len(), in.Len())
	}
	for _, i := range []int{0, groupRows - 1, groupRows, groupRows + 2} {
		if got, want := fmt.Sprint(out.Row(i)), fmt.Sprint(in.Row(i)); got != want {
			t.Errorf("row %d is %s, want %s", i, got, want)
		}
	}
}

func TestTextThatIsNotUTF8IsMadeReadable(t *testing.T) {
	in := plainTable(1)
	in.Error[0], in.Meta.Model = "bad \xff gateway", "m\xfe"
	in.Meta.Config = map[string]string{"k\xff": "\\ufffd \xff"}
	in.Meta.Axes = []sample.Axis{{Name: "mode", Value: "\xff", Set: true}}
	path := filepath.Join(t.TempDir(), SamplesFile)
	if err := WriteSamples(path, in); err != nil {
		t.Fatal(err)
	}
	out, err := ReadSamples(path)
	if err != nil {
		t.Fatal(err)
	}
	if out.Error[0] != "bad \uFFFD gateway" || out.Meta.Model != "m\uFFFD" || out.Meta.Config["k\uFFFD"] != "\\ufffd \uFFFD" || out.Meta.Axes[0].Value != "\uFFFD" {
		t.Errorf("got %q, %+v", out.Error[0], out.Meta)
	}
}

func TestEqualTablesGiveEqualBytes(t *testing.T) {
	dir := t.TempDir()
	var files [2][]byte
	for i := range files {
		path := filepath.Join(dir, fmt.Sprint(i))
		table := plainTable(50)
		table.Meta.Config = map[string]string{"a": "1", "b": "2", "c": "3"}
		if err := WriteSamples(path, table); err != nil {
			t.Fatal(err)
		}
		var err error
		if files[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("two files of equal tables differ")
	}
}

// Whatever a disk or a kill leaves of a file, reading it is an error or the
// same table, never a panic and never other numbers.
func TestDamagedSamplesAreErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), SamplesFile)
	in := plainTable(20)
	if err := WriteSamples(path, in); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	damaged := filepath.Join(t.TempDir(), SamplesFile)
	try := func(name string, data []byte) error {
		if err := os.WriteFile(damaged, data, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := ReadSamples(damaged)
		if err == nil && equalTables(in, out) != nil {
			t.Errorf("%s: other values were read: %v", name, equalTables(in, out))
		}
		if err != nil && (!strings.Contains(err.Error(), damaged) || !strings.Contains(err.Error(), "measure the point again")) {
			t.Errorf("%s: the error names neither file nor remedy: %v", name, err)
		}
		return err
	}
	for n := 0; n < len(whole); n += 7 {
		if try("cut", whole[:n]) == nil {
			t.Errorf("a file cut to %d of %d bytes was read", n, len(whole))
		}
	}
	for i := 0; i < len(whole); i += 5 {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0x55
		try(fmt.Sprint("byte ", i), flipped) // no panic
	}
	if try("text", []byte("PAR1 this is not Parquet at all PAR1")) == nil {
		t.Error("text was read as samples")
	}
	if _, err := ReadSamples(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
}

func TestUnusableTablesAreNotWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), SamplesFile)
	uneven := plainTable(3)
	uneven.TPOT = uneven.TPOT[:2]
	odd := plainTable(1)
	odd.Fallback[0] = 7
	for want, table := range map[string]*sample.Table{"TPOT has 2": uneven, "fallback is 7": odd} {
		if err := WriteSamples(path, table); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("a file was left")
		}
	}
}

// Columns that were asked for are as in the whole table; the others have as
// many values, none of which is known.
func TestReadColumnsReadsTheseAndNoOthers(t *testing.T) {
	in := plainTable(groupRows + 3)
	in.Meta.Model, in.Meta.Facts = "m", map[string]float64{"sent": 7}
	in.Outcome[5], in.Error[5] = sample.Timeout, "late"
	path := filepath.Join(t.TempDir(), SamplesFile)
	if err := WriteSamples(path, in); err != nil {
		t.Fatal(err)
	}
	want := &sample.Table{Meta: in.Meta}
	for i := range in.Len() {
		o := sample.NewOutcome("")
		o.Events = sample.Absent // which it is in no row that is made
		o.Sent, o.TTFT, o.Gaps, o.Outcome = in.Sent[i], in.TTFT[i], in.Gaps[i], in.Outcome[i]
		want.Append(o)
	}
	got, err := ReadColumns(path, "outcome", "gaps_us", "ttft_s", "sent_ns")
	if err != nil {
		t.Fatal(err)
	}
	if err := equalTables(want, got); err != nil {
		t.Fatal(err)
	}
	none, err := ReadColumns(path)
	if err != nil || none.Len() != in.Len() || none.Check() != nil || none.Meta.Facts["sent"] != 7 || none.Outcome[5] != "" || none.Fallback[5] != sample.Absent {
		t.Errorf("the metadata alone: %v, %d rows", err, none.Len())
	}
	all := make([]string, 0, len(columns))
	for _, c := range stored() {
		all = append(all, c.name)
	}
	if got, err = ReadColumns(path, all...); err != nil || equalTables(in, got) != nil {
		t.Errorf("all columns: %v", err)
	}
	for _, name := range []string{"ttft", "send_lag_s", "rate", ""} {
		if _, err := ReadColumns(path, name); err == nil || !strings.Contains(err.Error(), "ttft_s, tpot_s") {
			t.Errorf("column %q: %v", name, err)
		}
	}
}

// A column is only as good as its own bytes: what was damaged elsewhere is not
// looked at, and what was damaged in it is noticed.
func TestReadColumnsNoticesDamageOfWhatItReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), SamplesFile)
	in := plainTable(2000)
	if err := WriteSamples(path, in); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	fine, whole := 0, 0
	for i := 0; i < len(data); i += 97 {
		flipped := bytes.Clone(data)
		flipped[i] ^= 0x55
		if err := os.WriteFile(path, flipped, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadColumns(path, "ttft_s", "outcome"); err == nil {
			fine++
			for j := range got.Len() {
				if got.TTFT[j] != in.TTFT[j] || got.Outcome[j] != in.Outcome[j] {
					t.Fatalf("byte %d: other values were read", i)
				}
			}
		}
		if _, err := ReadSamples(path); err == nil {
			whole++
		}
	}
	if fine <= whole {
		t.Errorf("of files with a damaged byte %d gave the two columns and %d all of them: the others must have been read", fine, whole)
	}
}

// parts hands out the rows of a table a few at a time, as a spool does.
type parts struct {
	table *sample.Table
	next  int // the row that must be asked for
	spoil func(*sample.Table) error
}

func (p *parts) Len() int { return p.table.Len() }

func (p *parts) Table(from, to int) (*sample.Table, error) {
	if from != p.next || to-from > groupPart {
		return nil, fmt.Errorf("rows %d to %d are asked for", from, to)
	}
	p.next = to
	t := &sample.Table{} // of its own: no metadata
	for i := from; i < to; i++ {
		t.Append(p.table.Row(i))
	}
	if p.spoil != nil && from > 0 {
		return t, p.spoil(t)
	}
	return t, nil
}

// Rows in parts give the very bytes of the table, and groups end before their
// gaps are too many.
func TestRowsInPartsAreTheTable(t *testing.T) {
	in := plainTable(3*groupPart + 1)
	in.Meta.Model = "m"
	for i := range in.Gaps {
		in.Gaps[i] = make([]int32, groupGaps/groupPart)
	}
	dir := t.TempDir()
	whole, streamed := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	if err := WriteSamples(whole, in); err != nil {
		t.Fatal(err)
	}
	if err := WriteRows(streamed, in.Meta, &parts{table: in}); err != nil {
		t.Fatal(err)
	}
	a, errA := os.ReadFile(whole)
	b, errB := os.ReadFile(streamed)
	if errA != nil || errB != nil || !bytes.Equal(a, b) {
		t.Errorf("the files differ: %v, %v", errA, errB)
	}
	r, err := file.OpenParquetFile(streamed, false)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.NumRowGroups() != 4 || r.RowGroup(0).NumRows() != groupPart {
		t.Errorf("%d groups, %d rows in the first", r.NumRowGroups(), r.RowGroup(0).NumRows())
	}
}

// Rows that cannot be had, or are not what they say, leave no file.
func TestRowsThatCannotBeHadLeaveNoFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, SamplesFile)
	lost := errors.New("the disk is gone")
	for want, spoil := range map[string]func(*sample.Table) error{
		"rows 512 to 599: the disk is gone": func(*sample.Table) error { return lost },
		"TPOT has 87 entries":               func(t *sample.Table) error { t.TPOT = t.TPOT[1:]; return nil },
		"rows 512 to 599 are 87 rows":       func(t *sample.Table) error { *t = *t.Slice(1, t.Len()); return nil },
		"row 515: fallback is 7":            func(t *sample.Table) error { t.Fallback[3] = 7; return nil },
	} {
		err := WriteRows(path, sample.Meta{}, &parts{table: plainTable(600), spoil: spoil})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("got %v, want %q", err, want)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
			t.Errorf("left are %q", left)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, ".*.tmp")); len(left) > 0 {
			t.Errorf("left are %q", left)
		}
	}
}

func FuzzReadSamples(f *testing.F) {
	path := filepath.Join(f.TempDir(), SamplesFile)
	if err := WriteSamples(path, plainTable(5)); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), SamplesFile)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if table, err := ReadSamples(path); err == nil && table.Check() != nil {
			t.Error("an uneven table was read")
		}
	})
}
