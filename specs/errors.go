package specs

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// maxShown is how many errors are printed: enough to fill a screen with
// things to mend, not so many that the first is scrolled away.
const maxShown = 20

// Error is one thing that is wrong with a spec, and where.
type Error struct {
	File string // as it was named on the command line
	Line int    // from 1; 0: the whole file
	Col  int    // in characters, from 1; 0: the whole line
	Flag string // "sweep.qps=[1,2]" if a --set brought the value in; then Line and Col are 0
	Msg  string
	Hint string // what to do about it; may be empty
}

func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.Flag != "":
		fmt.Fprintf(&b, "--set %s: ", e.Flag)
	case e.Col > 0:
		fmt.Fprintf(&b, "%s:%d:%d: ", e.File, e.Line, e.Col)
	case e.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", e.File, e.Line)
	default:
		fmt.Fprintf(&b, "%s: ", e.File)
	}
	b.WriteString(e.Msg)
	if e.Hint != "" {
		fmt.Fprintf(&b, " (%s)", e.Hint)
	}
	return b.String()
}

// Errors is everything that is wrong with a spec, in order of position, those
// of --set last. It is never empty.
type Errors []*Error

func (es Errors) Error() string {
	var b strings.Builder
	for i, e := range es {
		if i == maxShown {
			fmt.Fprintf(&b, "\nand %d more", len(es)-maxShown)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(e.Error())
	}
	return b.String()
}

// Unwrap gives each error to errors.As.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// sorted orders errors by position, then by flag, and drops repetitions.
func (es Errors) sorted(flags []string) Errors {
	out := slices.Clone(es)
	slices.SortStableFunc(out, func(a, b *Error) int {
		return cmp.Or(
			cmp.Compare(slices.Index(flags, a.Flag), slices.Index(flags, b.Flag)), // of the file: -1
			cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col))
	})
	seen := make(map[Error]bool, len(out))
	return slices.DeleteFunc(out, func(e *Error) bool {
		was := seen[*e]
		seen[*e] = true
		return was
	})
}

// didYouMean is a hint for a word that is none of choices: the nearest one if
// it is near enough to be a slip, else the choices themselves if they are few.
func didYouMean(word string, choices []string) string {
	if best := nearest(word, choices); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	switch {
	case len(choices) == 0 || len(choices) > 16:
		return ""
	case len(choices) == 1:
		return "there is only " + choices[0]
	}
	return "there are " + strings.Join(choices, ", ")
}

// nearest is the choice with the smallest edit distance from word, or "" if
// none is near: one slip in a short word, two (such as a swap) in a longer one.
func nearest(word string, choices []string) string {
	least := 4
	switch {
	case len(word) < 4:
		least = 2
	case len(word) < 9:
		least = 3
	}
	best := ""
	for _, c := range choices {
		if d := distance(strings.ToLower(word), strings.ToLower(c)); d < least {
			best, least = c, d
		}
	}
	return best
}

// distance is the Levenshtein distance of a and b in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
