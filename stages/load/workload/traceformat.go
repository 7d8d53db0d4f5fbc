package workload

import (
	"bufio"
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Formats of traces.
const (
	Azure    = "azure"    // CSV: TIMESTAMP,ContextTokens,GeneratedTokens (https://github.com/Azure/AzurePublicDataset, 2023 and 2024)
	BurstGPT = "burstgpt" // CSV: Timestamp,[Session ID,Elapsed time,]Model,Request tokens,Response tokens,... (https://github.com/HPMLL/BurstGPT)
	Mooncake = "mooncake" // JSON lines: timestamp, input_length, output_length, hash_ids (https://github.com/kvcache-ai/Mooncake)
)

// reader adds the rows of a file to a trace. Its errors name the line.
type reader func(in *bufio.Reader, t *trace) error

var formats = map[string]reader{Azure: readAzure, BurstGPT: readBurstGPT, Mooncake: readMooncake}

// traceFormat tells a format by the file's first line, which is not read.
func traceFormat(in *bufio.Reader) (string, error) {
	head, err := in.Peek(4096)
	if len(head) == 0 {
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		return "", errors.New("the file is empty; fetch it again")
	}
	line, _, _ := strings.Cut(strings.TrimLeft(string(head), " \t\r\n"), "\n")
	line = strings.TrimSpace(line)
	columns := strings.Split(line, ",")
	switch {
	case strings.HasPrefix(line, "version https://git-lfs"):
		return "", errors.New("it is a pointer of Git LFS instead of the file that it stands for; fetch that with: git lfs pull")
	case strings.HasPrefix(line, "{"):
		return Mooncake, nil
	case column(columns, contextTokens) >= 0:
		return Azure, nil
	case column(columns, requestTokens) >= 0:
		return BurstGPT, nil
	}
	return "", fmt.Errorf("its first line is that of no trace that is known: %.80q; it must be a CSV header with %s (format %s) or %s (%s), or a JSON object with input_length (%s)",
		line, contextTokens, Azure, requestTokens, BurstGPT, Mooncake)
}

// Columns of the CSV formats.
const (
	azureTime      = "TIMESTAMP"
	contextTokens  = "ContextTokens"
	generateTokens = "GeneratedTokens"

	burstTime      = "Timestamp"
	requestTokens  = "Request tokens"
	responseTokens = "Response tokens"
)

// blockTokens is how many tokens a hash id of a Mooncake trace stands for.
const blockTokens = 512

// column is the place of a column, -1 if there is none of that name.
func column(header []string, name string) int {
	return slices.IndexFunc(header, func(h string) bool { return strings.EqualFold(strings.TrimSpace(h), name) })
}

// readAzure reads instants such as 2023-11-16 18:15:46.6805900, in seven
// decimals and no time zone, or with an offset as the file of 2024 has them.
// Those without are taken as UTC, which knows no summer time.
func readAzure(in *bufio.Reader, t *trace) error {
	var first time.Time
	return readCSV(in, t, [3]string{azureTime, contextTokens, generateTokens}, func(text string) (time.Duration, error) {
		at, err := instant(text)
		if err != nil {
			return 0, err
		}
		if first.IsZero() {
			first = at
		}
		if years := at.Year() - first.Year(); years < -200 || years > 200 {
			return 0, fmt.Errorf("%s %q is centuries from the first one", azureTime, text)
		}
		return at.Sub(first), nil
	})
}

// instant parses a date and time, with or without a T and a zone. Any number
// of decimals is read.
func instant(text string) (time.Time, error) {
	for _, layout := range [...]string{"2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04:05Z07:00"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, nil
		}
	}
	return time.Time{}, fmt.Errorf("%s %q is not an instant such as 2023-11-16 18:15:46.6805900", azureTime, text)
}

// readBurstGPT reads seconds, whole or with decimals. Columns are found by
// their names, since later files have a session id and an elapsed time before
// the others. All its models and logs are taken: they make up the traffic.
func readBurstGPT(in *bufio.Reader, t *trace) error {
	return readCSV(in, t, [3]string{burstTime, requestTokens, responseTokens}, func(text string) (time.Duration, error) {
		s, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return 0, fmt.Errorf("%s %q is not a number of seconds", burstTime, text)
		}
		return offset(s, time.Second)
	})
}

// offset is x units of time.
func offset(x float64, unit time.Duration) (time.Duration, error) {
	if ns := x * float64(unit); ns > -math.MaxInt64/4 && ns < math.MaxInt64/4 { // so that differences fit too
		return time.Duration(math.Round(ns)), nil
	}
	return 0, fmt.Errorf("the time %v is out of range", x)
}

// readCSV reads the three columns of these names: time, prompt tokens, answer
// tokens.
func readCSV(in *bufio.Reader, t *trace, names [3]string, at func(string) (time.Duration, error)) error {
	r := csv.NewReader(in)
	r.ReuseRecord, r.TrimLeadingSpace = true, true
	header, err := r.Read()
	if err != nil {
		return err // of a file that had a first line when its format was found out
	}
	var places [3]int
	for i, name := range names {
		if places[i] = column(header, name); places[i] < 0 {
			return fmt.Errorf("line 1: there is no column %q", name)
		}
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err // it names the line
		}
		line, _ := r.FieldPos(0)
		when, err := at(strings.TrimSpace(row[places[0]]))
		var lengths [2]float64
		for i := range lengths {
			name, text := names[i+1], strings.TrimSpace(row[places[i+1]])
			var bad error
			if lengths[i], bad = strconv.ParseFloat(text, 64); bad != nil && err == nil {
				err = fmt.Errorf("%s %q is not a number", name, text)
			}
		}
		if err == nil {
			err = t.add(when, lengths[0], lengths[1], nil)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
	}
}

// readMooncake reads milliseconds and lengths. The hash ids stand for the
// prompt's blocks of 512 tokens, from the front, the last of which may be
// shorter.
func readMooncake(in *bufio.Reader, t *trace) error {
	for number := 1; ; number++ {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("line %d: %w", number, err)
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if err := t.mooncake(line); err != nil {
				return fmt.Errorf("line %d: %w", number, err)
			}
		}
		if err != nil {
			return nil
		}
	}
}

func (t *trace) mooncake(line []byte) error {
	var row struct {
		Timestamp *float64 `json:"timestamp"`
		Input     *float64 `json:"input_length"`
		Output    *float64 `json:"output_length"`
		Blocks    []int64  `json:"hash_ids"`
	}
	if err := json.Unmarshal(line, &row); err != nil {
		return fmt.Errorf(`not a row such as {"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]}: %w`, err)
	}
	if row.Timestamp == nil || row.Input == nil || row.Output == nil {
		return errors.New("timestamp, input_length or output_length is missing")
	}
	at, err := offset(*row.Timestamp, time.Millisecond)
	if err != nil {
		return err
	}
	if full := math.Ceil(*row.Input / blockTokens); float64(len(row.Blocks)) > max(full, 0) {
		return fmt.Errorf("%d hash ids for a prompt of %v tokens; one stands for a block of %d, so they can be %v at most: the file has blocks of another size", len(row.Blocks), *row.Input, blockTokens, full)
	}
	if row.Blocks == nil {
		row.Blocks = []int64{}
	}
	return t.add(at, *row.Input, *row.Output, row.Blocks)
}
