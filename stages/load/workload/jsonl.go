package workload

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"vbp/stages/load/seed"
)

// openJSONL reads lines of {"prompt": "...", "output_tokens": N}; other fields
// are left alone and empty lines skipped. The file is the user's own, so a line
// that is wrong is an error, not a line fewer.
func openJSONL(d Dataset) (*Source, error) {
	if d.OutputTokens < 0 {
		return nil, fmt.Errorf("dataset %s: output tokens are %d; they must be positive", d.Path, d.OutputTokens)
	}
	f, err := openFile(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	hash := sha256.New()
	in := bufio.NewReaderSize(io.TeeReader(f, hash), 1<<18)
	var all List
	for number := 1; ; number++ {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("dataset %s:%d: %w", d.Path, number, err)
		}
		if number == 1 {
			line = bytes.TrimPrefix(line, []byte(byteOrderMark))
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			p, err := parseLine(line, d.OutputTokens)
			if err != nil {
				return nil, fmt.Errorf("dataset %s:%d: %w", d.Path, number, err)
			}
			all = append(all, p)
		}
		if err != nil {
			break
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf(`dataset %s: it has no lines; write one {"prompt": "...", "output_tokens": 128} a line`, d.Path)
	}
	return &Source{
		digest: digest(JSONL, 1, Counting, d.OutputTokens, hex.EncodeToString(hash.Sum(nil))),
		draw: func(_ context.Context, n int, seed0 int64, repeat int, _ Counter) (*Set, error) {
			r := seed.Rand("prompts", seed0, repeat)
			set := &Set{Counting: Estimate{}.Method()}
			order := make([]int32, 0, n)
			for _, i := range r.Perm(len(all))[:min(n, len(all))] {
				order = append(order, int32(i))
			}
			if len(order) < n {
				set.Notes = []string{tooFew(d.Path, len(all), n)}
			}
			for len(order) < n {
				order = append(order, int32(r.IntN(len(all))))
			}
			set.made = picked{all, order}
			return set, nil
		},
	}, nil
}

func parseLine(line []byte, output int) (Prompt, error) {
	var v struct {
		Prompt       *string  `json:"prompt"`
		OutputTokens *float64 `json:"output_tokens"`

		// What other tools call it: passed over, it would be missed only in
		// the results.
		MaxTokens    any `json:"max_tokens"`
		OutputLength any `json:"output_len"`
	}
	if err := json.Unmarshal(line, &v); err != nil {
		var wrongType *json.UnmarshalTypeError
		if errors.As(err, &wrongType) && wrongType.Field != "" {
			return Prompt{}, fmt.Errorf("%s is a %s; prompt must be a string, output_tokens a number", wrongType.Field, wrongType.Value)
		}
		return Prompt{}, fmt.Errorf(`the line is not a JSON object: %w; write {"prompt": "..."}`, err)
	}
	if v.OutputTokens == nil && (v.MaxTokens != nil || v.OutputLength != nil) {
		return Prompt{}, errors.New("the line has max_tokens or output_len; the number of tokens to generate is called output_tokens")
	}
	if v.Prompt == nil || *v.Prompt == "" {
		return Prompt{}, errors.New(`the line has no prompt; write {"prompt": "..."}`)
	}
	if v.OutputTokens != nil {
		output = int(*v.OutputTokens)
		if float64(output) != *v.OutputTokens || output < 1 {
			return Prompt{}, fmt.Errorf("output_tokens is %v; it must be a whole number above 0", *v.OutputTokens)
		}
	}
	if output == 0 {
		return Prompt{}, errors.New("the line has no output_tokens, and the dataset sets none for such lines; add it to the line, or set the dataset's output_tokens")
	}
	return Prompt{Text: *v.Prompt, MaxTokens: output, PromptTokens: bytesOver4(*v.Prompt)}, nil
}
