package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// argument is one flag of a command line as vLLM's parser reads it: - and _ in
// names are one, values follow behind a space or =, lists go on until the
// next flag, and --flag.key sets one member of a JSON value.
type argument struct {
	name   string   // long, with dashes, without those in front; "" for a word that is no flag
	path   []string // of --name.a.b
	add    bool     // --name.a+: the value is an element of a list
	values []string
	no     bool // --no-name
}

// arity says how many values a flag has.
type arity int

const (
	unknown  arity = iota
	none           // a switch
	optional       // one or none
	one
	some // one or more
)

// readArguments splits a command line. kind tells the arity of a long name.
func readArguments(args []string, kind func(name string) arity) ([]argument, error) {
	var out []argument
	for i := 0; i < len(args); i++ {
		text := args[i]
		if !isFlag(text) {
			out = append(out, argument{values: []string{text}})
			continue
		}
		a, attached := readFlag(text)
		of := kind(a.name)
		if of == unknown {
			if rest, negated := strings.CutPrefix(a.name, "no-"); negated && kind(rest) == none {
				a.name, a.no, of = rest, true, none
			}
		}
		if a.path != nil && of != unknown {
			of = one
		}
		if attached != nil {
			if of == none {
				return nil, fmt.Errorf("--%s takes no value, not %q; vLLM refuses that too", a.name, *attached)
			}
			a.values = []string{*attached}
			out = append(out, a)
			continue
		}
		most := map[arity]int{optional: 1, one: 1, some: len(args)}[of]
		for len(a.values) < most && i+1 < len(args) && !isFlag(args[i+1]) {
			i++
			a.values = append(a.values, args[i])
		}
		if len(a.values) == 0 && (of == one || of == some) {
			return nil, fmt.Errorf("--%s: a value is missing", a.name)
		}
		out = append(out, a)
	}
	return out, nil
}

// isFlag tells flags from values; a negative number is a value.
func isFlag(text string) bool {
	if len(text) < 2 || text[0] != '-' {
		return false
	}
	_, err := strconv.ParseFloat(text, 64)
	return err != nil
}

// readFlag takes a flag apart. attached is what stands behind =.
func readFlag(text string) (a argument, attached *string) {
	name, value, has := strings.Cut(text, "=")
	if has {
		attached = &value
	}
	if long, ok := strings.CutPrefix(name, "--"); ok {
		name = long
	} else {
		name = name[1:]
		if level, ok := strings.CutPrefix(name, "O"); ok && level != "" && attached == nil {
			name, attached = "O", &level
		}
		key, rest, dotted := strings.Cut(name, ".")
		if long, ok := shortNames[key]; ok {
			if name = long; dotted {
				name += "." + rest
			}
		}
	}
	name, path, dotted := strings.Cut(name, ".")
	a.name = strings.ReplaceAll(name, "_", "-")
	if dotted {
		path, a.add = strings.CutSuffix(path, "+")
		a.path = strings.Split(path, ".")
	}
	return a, attached
}

// humanInt turns 4k (4000), 4K (4096) and the like, which vLLM takes for some
// numbers, into digits; what is none of these comes back as it was.
func humanInt(text string) string {
	if text == "" {
		return text
	}
	digits, suffix := text[:len(text)-1], text[len(text)-1]
	if n, err := strconv.Atoi(digits); err == nil && n >= 0 && n < 1<<30 {
		if e := strings.IndexByte("KMGT", suffix); e >= 0 && n < 1<<(62-10*(e+1)) {
			return strconv.Itoa(n << (10 * (e + 1)))
		}
	}
	if e := strings.IndexByte("kmgt", suffix); e >= 0 && !strings.ContainsAny(digits, "eExX+-_") {
		if v, err := strconv.ParseFloat(digits, 64); err == nil && v >= 0 {
			if v *= []float64{1e3, 1e6, 1e9, 1e12}[e]; v < 1<<62 {
				return strconv.FormatInt(int64(v), 10)
			}
		}
	}
	return text
}

// opposite is the other one of --enable-x and --disable-x; "" if the name is
// neither.
func opposite(name string) string {
	if rest, ok := strings.CutPrefix(name, "enable-"); ok {
		return "disable-" + rest
	}
	if rest, ok := strings.CutPrefix(name, "disable-"); ok {
		return "enable-" + rest
	}
	return ""
}

// idle tells the arity of a flag that is accepted without effect.
func idle(name string) arity {
	switch {
	case slices.Contains(idleSwitches, name) || slices.Contains(idleSwitches, opposite(name)):
		return none
	case slices.Contains(idleValues, name):
		return one
	case slices.Contains(idleLists, name):
		return some
	case slices.Contains(idleOptional, name):
		return optional
	}
	return unknown
}
