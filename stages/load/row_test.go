package load

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"

	"vbp/stages/sample"
)

// anyRow is a row of request i of a schedule, as the recorder keeps it.
func anyRow(t *rapid.T, scheduled int64) sample.Outcome {
	whole := rapid.OneOf(rapid.Just(int64(sample.Absent)), rapid.Int64(), rapid.Int64Range(0, 1000))
	double := rapid.OneOf(rapid.Just(math.NaN()), rapid.Float64(), rapid.Just(math.Copysign(0, -1)), rapid.Just(math.Inf(1)))
	text := rapid.OneOf(rapid.Just(""), rapid.String(), rapid.SampledFrom([]string{"ok", "length"}))
	o := sample.Outcome{
		Scheduled:    scheduled,
		PromptTokens: whole.Draw(t, "prompt"), OutputTokens: whole.Draw(t, "output"),
		Sent: whole.Draw(t, "sent"), FirstEvent: whole.Draw(t, "first event"),
		FirstToken: whole.Draw(t, "first token"), LastToken: whole.Draw(t, "last token"),
		SlotWait: double.Draw(t, "slot wait"), E2E: double.Draw(t, "e2e"),
		Events: whole.Draw(t, "events"), Finish: text.Draw(t, "finish"), Outcome: text.Draw(t, "outcome"),
		Status: whole.Draw(t, "status"), Error: text.Draw(t, "error"), Prefill: text.Draw(t, "prefill"),
		Decode: text.Draw(t, "decode"), PrefillTime: double.Draw(t, "prefill time"), Fallback: whole.Draw(t, "fallback"),
	}
	switch rapid.IntRange(0, 2).Draw(t, "gaps") {
	case 0:
		o.Gaps = []int32{}
	case 1:
		o.Gaps = rapid.SliceOfN(rapid.Int32(), 1, 8).Draw(t, "gap")
	}
	o.Derive()
	return o
}

// same compares two rows: %#v tells nil from empty, NaN from numbers, -0 from
// 0, and has the shortest exact form of every double.
func same(a, b sample.Outcome) error {
	if p, q := fmt.Sprintf("%#v", a), fmt.Sprintf("%#v", b); p != q {
		return fmt.Errorf("rows differ:\n%s\n%s", p, q)
	}
	return nil
}

func TestRowsComeBackAsTheyWere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r rowReader
		for n := range rapid.IntRange(1, 4).Draw(t, "rows") {
			scheduled := rapid.Int64Range(0, math.MaxInt64).Draw(t, "scheduled")
			i := rapid.IntRange(0, math.MaxInt32).Draw(t, "i")
			in := anyRow(t, scheduled)
			b := appendRow(nil, i, scheduled, &in)
			got, out, err := r.read(b, func(at int) (int64, bool) { return scheduled, at == i })
			if err != nil || got != i {
				t.Fatalf("row %d: request %d is %d: %v", n, i, got, err)
			}
			out.Derive()
			if err := same(in, out); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Rows share what they have in common, and no more: to write to the gaps of
// one changes no other.
func TestGapsOfRowsAreTheirOwn(t *testing.T) {
	o := sample.NewOutcome("")
	o.Gaps = []int32{1, 2}
	b := appendRow(nil, 0, 0, &o)
	var r rowReader
	at := func(int) (int64, bool) { return 0, true }
	_, first, _ := r.read(b, at)
	_, second, _ := r.read(b, at)
	first.Gaps = append(first.Gaps, 3)
	first.Gaps[1] = 9
	if second.Gaps[0] != 1 || second.Gaps[1] != 2 || len(second.Gaps) != 2 {
		t.Errorf("the second row's gaps are %v", second.Gaps)
	}
}

// A usual row takes as many bytes as is said of it.
func TestRowsAreSmall(t *testing.T) {
	o := sample.NewOutcome("")
	o.PromptTokens, o.OutputTokens, o.Events, o.Status = 200, 129, 129, 200
	o.Sent, o.FirstEvent, o.FirstToken, o.LastToken = 3600e9, 3600.07e9, 3600.07e9, 3601.35e9
	o.E2E, o.Finish, o.Outcome = 1.35, "length", sample.OK
	for range 128 {
		o.Gaps = append(o.Gaps, 10_000)
	}
	if n := len(appendRow(nil, 999_999, 3600e9-50e3, &o)); n > 100+3*128 {
		t.Errorf("a row of 128 gaps has %d bytes", n)
	}
	o.Gaps = nil
	if n := len(appendRow(nil, 999_999, 3600e9-50e3, &o)); n > 60 {
		t.Errorf("a row without gaps has %d bytes", n)
	}
}

// Whatever the bytes are, reading them is a row or an error, and takes no more
// memory than they have.
func FuzzReadRow(f *testing.F) {
	o := sample.NewOutcome("")
	o.Gaps, o.Error, o.Sent, o.E2E = []int32{1, 2, 3}, "x", 5, 1
	b := appendRow(nil, 3, 4, &o)
	f.Add(b)
	f.Add(b[:len(b)-2])
	f.Add(bytes.Repeat([]byte{0xff}, 40))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r rowReader
		i, o, err := r.read(b, func(i int) (int64, bool) { return 4, i >= 0 && i < 1000 })
		if err != nil {
			return
		}
		_, again, err := r.read(appendRow(nil, i, 4, &o), func(int) (int64, bool) { return 4, true })
		if err != nil {
			t.Fatal(err)
		}
		if err := same(o, again); err != nil {
			t.Fatal(err)
		}
	})
}
