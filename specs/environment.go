package specs

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// The forms that are replaced inside scalar values, after YAML is parsed:
//
//	${NAME}            the variable; unset is an error
//	${NAME:-default}   default if unset or empty, as in the shell; may nest
//	${secret:NAME}     stays as written, see Reveal; in headers and env only
//	$${                a literal ${
//
// The result is typed by the field that receives it. Where a field takes any
// value (args, body, axes) a replaced text is read like an unquoted one.

const secretForm = "${secret:"

var secretRef = regexp.MustCompile(`\$\{secret:([A-Za-z_][A-Za-z0-9_]*)\}`)

// expandEnv replaces the environment in all values below n. The tree is fresh
// from parsing: nothing else holds it, so it is changed in place.
func (r *reader) expandEnv(n *node, path []string) {
	switch {
	case n == nil || leftToShell(path):
		if n != nil && strings.Contains(n.text, secretForm) {
			r.errorf(n.pos, "hand it to the command through env", "a secret cannot stand in %s", strings.Join(path, "."))
		}
	case n.kind == list:
		for _, item := range n.items {
			r.expandEnv(item, path)
		}
	case n.kind == mapping:
		for _, e := range n.entries {
			r.expandEnv(e.value, append(path[:len(path):len(path)], e.key))
		}
	case strings.Contains(n.text, "${"):
		text, replaced, err := substitute(n.text, r.lookup, 0)
		if err != nil {
			r.errorf(n.pos, err.Hint, "%s", err.Msg)
			return
		}
		if !utf8.ValidString(text) {
			r.errorf(n.pos, "", "the environment gives %s a text that is not UTF-8: %q", strings.Join(path, "."), text)
			return
		}
		if strings.Contains(text, secretForm) && !maySecret(path) {
			r.errorf(n.pos, "secrets can stand in headers and env", "a secret cannot stand in %s", strings.Join(path, "."))
			return
		}
		n.text = text
		if replaced {
			// The environment holds texts: one that is empty, or ~, is that
			// text and not "nothing was said".
			n.quoted = false
			n.quoted = n.isNull()
		}
	}
}

// leftToShell tells whether path is a command line, whose ${} the shell
// replaces.
func leftToShell(path []string) bool {
	return len(path) == 3 && path[2] == "run" && (path[0] == "stages" || path[0] == "modes")
}

// maySecret tells whether what stands at path is given to Reveal before use.
func maySecret(path []string) bool {
	if len(path) < 4 {
		return false
	}
	switch path[0] {
	case "modes":
		above := path[len(path)-2] // a pool's env stands deeper than a mode's
		return above == "env" || above == "headers"
	case "stages":
		return path[2] == "env"
	}
	return false
}

// substitute replaces the forms above in s. replaced tells whether a variable
// was, which makes the text's looks decide its type.
func substitute(s string, lookup func(string) (string, bool), depth int) (out string, replaced bool, err *Error) {
	if depth > maxDepth {
		return "", false, &Error{Msg: "${...} is nested too deep"}
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		switch {
		case strings.HasPrefix(s[i:], "$$"+secretForm[1:]):
			return "", false, &Error{Msg: "a literal ${secret:...} cannot be told from a secret", Hint: "write it another way"}
		case strings.HasPrefix(s[i:], "$${"):
			b.WriteString("${")
			i += 3
		case strings.HasPrefix(s[i:], secretForm):
			m := secretRef.FindStringIndex(s[i:])
			if m == nil || m[0] != 0 {
				return "", false, &Error{Msg: fmt.Sprintf("%q is not a secret's name", s[i:]), Hint: "write ${secret:NAME}"}
			}
			b.WriteString(s[i : i+m[1]])
			i += m[1]
		case strings.HasPrefix(s[i:], "${"):
			end := closing(s[i:])
			if end < 0 {
				return "", false, &Error{Msg: fmt.Sprintf("%q has no closing }", s[i:]), Hint: "a literal ${ is written $${"}
			}
			text, err := variable(s[i+2:i+end], lookup, depth)
			if err != nil {
				return "", false, err
			}
			b.WriteString(text)
			replaced = true
			i += end + 1
		default:
			b.WriteByte(s[i])
			i++
		}
	}
	return b.String(), replaced, nil
}

// closing is the index of the } that ends the ${ with which s begins.
func closing(s string) int {
	depth := 0
	for i := range len(s) {
		switch {
		case s[i] == '{' && i > 0 && s[i-1] == '$':
			depth++
		case s[i] == '}':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

var variableForm = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)(?:(:-)((?s:.*)))?$`)

// variable is the value of what stands between ${ and }.
func variable(s string, lookup func(string) (string, bool), depth int) (string, *Error) {
	m := variableForm.FindStringSubmatch(s)
	if m == nil {
		return "", &Error{Msg: fmt.Sprintf("${%s} cannot be read", s), Hint: "write ${NAME} or ${NAME:-default}; a literal ${ is written $${"}
	}
	value, set := lookup(m[1])
	switch {
	case m[2] == "" && set, m[2] != "" && value != "":
		return value, nil
	case m[2] == "":
		return "", &Error{Msg: fmt.Sprintf("the environment variable %s is not set", m[1]), Hint: fmt.Sprintf("set it, or write ${%s:-default}", m[1])}
	}
	out, _, err := substitute(m[3], lookup, depth+1)
	return out, err
}

// escapeEnv writes s so that substitute gives s back; secrets stay.
func escapeEnv(s string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, "${")
		if i < 0 {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		if m := secretRef.FindStringIndex(s[i:]); m != nil && m[0] == 0 {
			b.WriteString(s[i : i+m[1]])
			s = s[i+m[1]:]
			continue
		}
		b.WriteString("$${")
		s = s[i+2:]
	}
}

// Reveal replaces every ${secret:NAME} of s by the environment variable NAME.
// What it returns must go to the server or the command only: into no key, no
// record and no output. It is an error if NAME is not set.
func (e *Experiment) Reveal(s string) (string, error) {
	lookup := e.lookup()
	var missing string
	out := secretRef.ReplaceAllStringFunc(s, func(ref string) string {
		name := secretRef.FindStringSubmatch(ref)[1]
		value, ok := lookup(name)
		if !ok && missing == "" {
			missing = name
		}
		return value
	})
	if missing != "" {
		return "", fmt.Errorf("the secret %s is not in the environment: set %s before running %s", missing, missing, e.File)
	}
	return out, nil
}

// secrets are the names of the secrets that the spec refers to.
func (e *Experiment) secrets() []string {
	var names []string
	for _, m := range secretRef.FindAllSubmatch(e.Resolved, -1) {
		if name := string(m[1]); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// CheckSecrets returns an error if a secret that the spec refers to is not in
// the environment.
func (e *Experiment) CheckSecrets() error {
	for _, name := range e.secrets() {
		if _, err := e.Reveal("${secret:" + name + "}"); err != nil {
			return err
		}
	}
	return nil
}

// Redact replaces the values of the spec's secrets in s by references to them:
// for texts that come back from servers and commands that were given one. A
// value of fewer than four characters cannot be told from other text and is
// left alone.
func (e *Experiment) Redact(s string) string {
	lookup := e.lookup()
	type secret struct{ name, value string }
	var known []secret
	for _, name := range e.secrets() {
		if value, ok := lookup(name); ok && len(value) >= 4 {
			known = append(known, secret{name, value})
		}
	}
	// The longest first: one may begin as another does.
	slices.SortStableFunc(known, func(a, b secret) int { return len(b.value) - len(a.value) })
	for _, k := range known {
		s = strings.ReplaceAll(s, k.value, "${secret:"+k.name+"}")
	}
	return s
}
