package workload

import "context"

// Counter counts tokens as the model that is measured does.
type Counter interface {
	// Count returns the number of tokens of each text, special tokens that
	// the tokenizer adds by itself included. After an error nothing is known.
	Count(ctx context.Context, texts []string) ([]int, error)

	// Method says how, for people: "the server's /tokenize".
	Method() string
}

// Counting names the estimate of the length of a text, in tokens: its bytes of
// UTF-8 divided by four, rounded up. It needs no tokenizer.
const Counting = "bytes/4"

// Estimate is the Counter that Counting names. Since says why nothing better
// was to be had ("the server has no /tokenize"); it may be left empty.
type Estimate struct{ Since string }

// Count never fails.
func (Estimate) Count(_ context.Context, texts []string) ([]int, error) {
	out := make([]int, len(texts))
	for i, s := range texts {
		out[i] = bytesOver4(s)
	}
	return out, nil
}

// Method says that it is an estimate, and why.
func (e Estimate) Method() string {
	if e.Since == "" {
		return "estimated as " + Counting
	}
	return "estimated as " + Counting + " since " + e.Since
}

func bytesOver4(s string) int { return (len(s) + 3) / 4 }
