package deploy

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// What an error shows must start the same when it is pasted into a shell.
func TestCommandLineInShell(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip("sh is missing")
	}
	words := []string{"it's", "", "$HOME", "a b", `{"k":["v"]}`, "*", "~", "\\", "é", "a\nb", "plain-1.0,x"}
	p := Process{
		Argv: append([]string{sh, "-c", `printf '%s\0' "$X" "$@"`, "sh"}, words...),
		Env:  []string{"X=1 'and' $2"},
	}
	out, err := exec.Command(sh, "-c", p.Shell()).Output()
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	if want := append([]string{"1 'and' $2"}, words...); !slices.Equal(got, want) {
		t.Errorf("the shell reads %q\nwant %q", got, want)
	}
}
