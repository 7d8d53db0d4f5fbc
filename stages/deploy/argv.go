package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Render writes args as a command line has them; see Arg.
func Render(args []Arg) ([]string, error) {
	var argv []string
	for _, a := range args {
		if a.Name == "" || strings.HasPrefix(a.Name, "-") {
			return nil, fmt.Errorf("argument %q: write its name without leading dashes, they are added", a.Name)
		}
		switch v := a.Value.(type) {
		case nil:
			argv = append(argv, "--"+a.Name)
		case bool:
			if v {
				argv = append(argv, "--"+a.Name)
			} else {
				argv = append(argv, "--no-"+a.Name)
			}
		case string:
			argv = append(argv, "--"+a.Name, v)
		default:
			// Numbers look in JSON as they do on a command line: 4096, 0.9.
			text, err := compactJSON(v)
			if err != nil {
				return nil, fmt.Errorf("argument %q: %w", a.Name, err)
			}
			argv = append(argv, "--"+a.Name, text)
		}
	}
	return argv, nil
}

func compactJSON(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // an engine is no browser
	if err := e.Encode(v); err != nil {
		return "", errors.New("its value cannot be written as JSON: " + err.Error())
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// Quote writes words so that a shell reads them as the same words.
func Quote(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = w
		if w == "" || strings.ContainsFunc(w, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_=./:,+@%", r))
		}) {
			quoted[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(quoted, " ")
}

// Shell is what somebody would paste into a shell to start p.
func (p *Process) Shell() string {
	words := make([]string, 0, len(p.Env)+1)
	for _, e := range p.Env {
		name, value, _ := strings.Cut(e, "=")
		words = append(words, name+"="+Quote(value))
	}
	return strings.Join(append(words, Quote(p.Argv...)), " ")
}
