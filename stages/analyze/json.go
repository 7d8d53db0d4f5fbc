package analyze

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
)

// WriteJSON writes a as indented JSON in the layout named by Schema. Equal
// analyses give equal bytes.
func (a *Analysis) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(a); err != nil {
		return fmt.Errorf("analyze: writing JSON: %w", err)
	}
	return nil
}

// ReadJSON reads what WriteJSON wrote. It refuses other layouts.
func ReadJSON(r io.Reader) (*Analysis, error) {
	var a Analysis
	if err := json.NewDecoder(r).Decode(&a); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return nil, errors.New("analyze: the analysis is cut off: make it again")
		}
		return nil, fmt.Errorf("analyze: not an analysis: %w", err)
	}
	if a.Schema != Schema {
		return nil, fmt.Errorf("analyze: the analysis has layout %q, this vbp reads %q: make it again", a.Schema, Schema)
	}
	return &a, nil
}

// plain matches the numbers that JSON, this program and a reader's double all
// write alike, so that a value such as a version "0.80" stays text.
var plain = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,14})(\.[0-9]{0,14}[1-9])?$`)

// MarshalJSON writes plain numbers as numbers and everything else as text.
func (c Config) MarshalJSON() ([]byte, error) {
	m := make(map[string]any, len(c))
	for k, v := range c {
		m[k] = v
		if plain.MatchString(v) {
			m[k] = json.Number(v)
		}
	}
	return json.Marshal(m)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (c *Config) UnmarshalJSON(b []byte) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(b, &raw); err != nil {
		return err
	}
	*c = Config{}
	for k, v := range raw {
		var text string
		if err := json.Unmarshal(v, &text); err != nil {
			text = string(v)
		}
		(*c)[k] = text
	}
	return nil
}
