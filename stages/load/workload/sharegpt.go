package workload

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The filters of vLLM's ShareGPT dataset, in tokens. An entry is dropped when
// its prompt or its answer is shorter than minTokens, its prompt longer than
// maxPrompt, or both together longer than maxTotal; an entry of fewer than two
// turns has no answer and is dropped too.
const (
	minTokens = 4
	maxPrompt = 1024
	maxTotal  = 2048
)

// conversation is what is read of one entry. Pointers tell an entry that lacks
// a part from one in which it is empty.
type conversation struct {
	Turns *[]struct {
		Value *string `json:"value"`
	} `json:"conversations"`
}

// openShareGPT streams the file, so that of 200 MB only the prompts that pass
// the filters are kept. The prompt is turn 0; the length of turn 1 is how many
// tokens are asked for.
func openShareGPT(d Dataset, count counter) (*Source, error) {
	f, err := openFile(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	hash := sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(f, hash), 1<<20)
	base := int64(0)
	if mark, _ := in.Peek(3); bytes.Equal(mark, []byte("\xef\xbb\xbf")) {
		in.Discard(3) // a byte order mark, which JSON does not know
		base = 3
	}
	dec := json.NewDecoder(in)
	broken := func(entry int, err error) error {
		at := base + dec.InputOffset()
		var syntax *json.SyntaxError
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			size := at
			if st, err := f.Stat(); err == nil {
				size = st.Size()
			}
			return fmt.Errorf("dataset %s: the file ends at byte %d, before its closing ]: entry %d, which begins after byte %d, is not complete; the file was cut off, probably by a download that did not finish: fetch it again", d.Path, size, entry, at)
		case errors.As(err, &syntax):
			return fmt.Errorf("dataset %s: entry %d, after byte %d: not JSON: %w; a sharegpt file is one JSON array of conversations", d.Path, entry, at, err)
		}
		return fmt.Errorf("dataset %s: entry %d, after byte %d: %w", d.Path, entry, at, err)
	}
	tok, err := dec.Token()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("dataset %s: the file is empty; fetch it again", d.Path)
	}
	if tok != json.Delim('[') {
		return nil, fmt.Errorf("dataset %s: a sharegpt file is one JSON array of conversations, and this one does not begin with [; for one JSON object a line with a prompt, use kind %s", d.Path, JSONL)
	}
	var all []Prompt
	entries, malformed, firstBad := 0, 0, ""
	for ; dec.More(); entries++ {
		at := base + dec.InputOffset()
		var c conversation
		err := dec.Decode(&c)
		var wrongType *json.UnmarshalTypeError
		if err != nil && !errors.As(err, &wrongType) {
			return nil, broken(entries, err)
		}
		if err != nil || c.Turns == nil || len(*c.Turns) >= 2 && ((*c.Turns)[0].Value == nil || (*c.Turns)[1].Value == nil) {
			if malformed++; malformed == 1 {
				firstBad = fmt.Sprintf("entry %d, after byte %d", entries, at)
			}
			continue
		}
		if len(*c.Turns) < 2 {
			continue
		}
		prompt, answer := *(*c.Turns)[0].Value, *(*c.Turns)[1].Value
		in, out := count(prompt), count(answer)
		if in < minTokens || out < minTokens || in > maxPrompt || in+out > maxTotal {
			continue
		}
		all = append(all, Prompt{Text: prompt, MaxTokens: out, PromptTokens: in})
	}
	if _, err := dec.Token(); err != nil {
		return nil, broken(entries, err)
	}
	// The rest is hashed, so that the digest speaks of the whole file.
	if _, err := io.Copy(io.Discard, in); err != nil {
		return nil, broken(entries, err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("dataset %s: none of its %d entries is usable (%d malformed; the others have no two turns, fewer than %d tokens in one, more than %d in the prompt or %d in both); use another file", d.Path, entries, malformed, minTokens, maxPrompt, maxTotal)
	}
	s := &Source{
		digest: digest(ShareGPT, 1, Counting, minTokens, maxPrompt, maxTotal, hex.EncodeToString(hash.Sum(nil))),
		draw:   pool(d.Path, all),
	}
	if malformed > 0 {
		s.warnings = []string{fmt.Sprintf("%s: %d of %d entries are malformed and left out, the first is %s: an entry is {\"conversations\": [{\"value\": \"...\"}, ...]}", d.Path, malformed, entries, firstBad)}
	}
	return s, nil
}
