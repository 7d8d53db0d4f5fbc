package sample

import "fmt"

// Check tells whether all columns have one entry for each request. A table
// that was filled by Append always does; the error names the column that does
// not, and both lengths.
func (t *Table) Check() error {
	n := t.Len()
	for _, c := range []struct {
		name string
		n    int
	}{
		{"PromptTokens", len(t.PromptTokens)},
		{"OutputTokens", len(t.OutputTokens)},
		{"Scheduled", len(t.Scheduled)},
		{"Sent", len(t.Sent)},
		{"FirstEvent", len(t.FirstEvent)},
		{"FirstToken", len(t.FirstToken)},
		{"LastToken", len(t.LastToken)},
		{"SlotWait", len(t.SlotWait)},
		{"TTFT", len(t.TTFT)},
		{"TPOT", len(t.TPOT)},
		{"E2E", len(t.E2E)},
		{"Gaps", len(t.Gaps)},
		{"Events", len(t.Events)},
		{"Finish", len(t.Finish)},
		{"Outcome", len(t.Outcome)},
		{"Status", len(t.Status)},
		{"Error", len(t.Error)},
		{"Prefill", len(t.Prefill)},
		{"Decode", len(t.Decode)},
		{"PrefillTime", len(t.PrefillTime)},
		{"Fallback", len(t.Fallback)},
	} {
		if c.n != n {
			return fmt.Errorf("sample: column %s has %d entries, ID has %d: all columns of a table are equally long", c.name, c.n, n)
		}
	}
	return nil
}
