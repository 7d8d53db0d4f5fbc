package engine

import (
	"fmt"
	"strings"
	"testing"
)

// told is an argument in one word: name.path+=value|value.
func (a argument) told() string {
	s := a.name
	if a.no {
		s = "!" + s
	}
	if a.path != nil {
		s += "." + strings.Join(a.path, ".")
	}
	if a.add {
		s += "+"
	}
	return s + "=" + strings.Join(a.values, "|")
}

func TestReadArguments(t *testing.T) {
	kind := func(name string) arity {
		return map[string]arity{"switch": none, "value": one, "two-words": one, "list": some, "maybe": optional, "tensor-parallel-size": one, "optimization-level": one}[name]
	}
	for line, want := range map[string]string{
		"":                                     "",
		"a --switch b":                         "=a switch= =b",
		"--no-switch --no_switch":              "!switch= !switch=",
		"--value 1 --value=2 --value -3":       "value=1 value=2 value=-3",
		"--two_words x --two-words=y_z":        "two-words=x two-words=y_z",
		"--list a b --list=c d --switch":       "list=a|b list=c =d switch=",
		"--maybe --maybe x --maybe=y":          "maybe= maybe=x maybe=y",
		"--value.a.b_c 1 --value.d=2":          "value.a.b_c=1 value.d=2",
		"--value.list+ 1":                      "value.list+=1",
		"-tp 2 -tp=4 -O3 -O 2":                 "tensor-parallel-size=2 tensor-parallel-size=4 optimization-level=3 optimization-level=2",
		"--value --switch":                     "error: --value: a value is missing",
		"--list":                               "error: --list: a value is missing",
		"--switch=yes":                         `error: --switch takes no value, not "yes"`,
		"--other x":                            "other= =x", // what it is for is not known, so that the word may be anything
		"--value={\"a\":1.5} -- --value a.b=c": "value={\"a\":1.5} = value=a.b=c",
	} {
		list, err := readArguments(strings.Fields(line), kind)
		var got []string
		for _, a := range list {
			got = append(got, a.told())
		}
		text := strings.Join(got, " ")
		if err != nil {
			text = fmt.Sprintf("error: %v", err)
		}
		if text != want && !(err != nil && strings.HasPrefix(text, want)) {
			t.Errorf("%s: %s, want %s", line, text, want)
		}
	}
}

// The examples are those of vLLM's own documentation of such numbers, and the
// limits of what can be told.
func TestHumanInt(t *testing.T) {
	for text, want := range map[string]string{
		"1k": "1000", "1K": "1024", "2M": "2097152", "25.6k": "25600", "4096": "4096", "1G": "1073741824", "1t": "1000000000000",
		"": "", "k": "k", "-1": "-1", "auto": "auto", "1.5K": "1.5K", "1e3k": "1e3k", "99999999999T": "99999999999T", "-2k": "-2k",
	} {
		if got := humanInt(text); got != want {
			t.Errorf("%q is %q, want %q", text, got, want)
		}
	}
}
