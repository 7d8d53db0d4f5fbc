package workload

import "slices"

// Prompt is what one request asks.
type Prompt struct {
	Text         string
	IDs          []int32 // token ids; set instead of Text by random and trace
	MaxTokens    int     // length of the answer that is asked for
	PromptTokens int     // length of the prompt: exact for ids, for text as Set.Counting says
}

// Prompts are the prompts of a point, in the order in which they are sent.
// They are made when they are asked for, so that a million of them need no
// memory. All methods may be called from several goroutines at a time; i is
// in [0, Len()).
type Prompts interface {
	Len() int
	Prompt(i int) Prompt // made now, always the same one, and the caller's own
	MaxTokens(i int) int // that of Prompt(i), without making it
	TokenIDs() bool      // prompts are token ids, which only a completions API takes
}

// List is prompts that are there already.
type List []Prompt

// Len is their number.
func (l List) Len() int { return len(l) }

// Prompt is l[i], with token ids of its own.
func (l List) Prompt(i int) Prompt {
	p := l[i]
	p.IDs = slices.Clone(p.IDs)
	return p
}

// MaxTokens is the length of the answer that prompt i asks for.
func (l List) MaxTokens(i int) int { return l[i].MaxTokens }

// TokenIDs tells whether any of them is token ids.
func (l List) TokenIDs() bool {
	return slices.ContainsFunc(l, func(p Prompt) bool { return p.IDs != nil })
}

// Set is what Draw drew.
type Set struct {
	Notes    []string // worth showing: what was left out, repeated or put in order
	Counting string   // how prompt and answer lengths came about, for people

	made Prompts
}

// Len is the number of prompts that were asked for.
func (s *Set) Len() int { return s.made.Len() }

// Prompt makes prompt i.
func (s *Set) Prompt(i int) Prompt { return s.made.Prompt(i) }

// MaxTokens is the length of the answer that prompt i asks for.
func (s *Set) MaxTokens(i int) int { return s.made.MaxTokens(i) }

// TokenIDs tells whether the prompts are token ids.
func (s *Set) TokenIDs() bool { return s.made.TokenIDs() }

// picked are prompts of text out of a list, each as often as it was picked.
type picked struct {
	from  List
	order []int32
}

func (p picked) Len() int            { return len(p.order) }
func (p picked) Prompt(i int) Prompt { return p.from[p.order[i]] }
func (p picked) MaxTokens(i int) int { return p.from[p.order[i]].MaxTokens }
func (p picked) TokenIDs() bool      { return false }
