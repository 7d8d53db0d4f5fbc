package engine

import "math"

// pieceBytes is the length of a token's text. Four bytes a token is close to
// what real tokenizers make of English.
const pieceBytes = 4

// TokenCount is the number of tokens of a text: its UTF-8 bytes / 4, rounded
// up.
func TokenCount(text string) int { return (len(text) + pieceBytes - 1) / pieceBytes }

// tokenize cuts a text into pieces of 4 bytes and hashes each to an id below
// vocab. Texts with equal beginnings get equal ids there, which is what
// prefix caching lives on; ids cannot be turned back into text.
func tokenize(text string, vocab int) []uint32 {
	ids := make([]uint32, 0, TokenCount(text))
	for len(text) > 0 {
		n := min(pieceBytes, len(text))
		h := uint64(n)
		for i := range n {
			h = h<<8 | uint64(text[i])
		}
		ids = append(ids, uint32(mix(0, h)%uint64(vocab)))
		text = text[n:]
	}
	return ids
}

// words are what generated texts consist of. Each makes one token of 4 bytes
// with the space before it, so that counting a generated text gives the
// number of tokens that were generated.
var words = [64]string{
	"elm", "oak", "ash", "fir", "bay", "fig", "ivy", "nut", "pea", "rye", "oat", "bud", "sap", "log", "bog", "fen",
	"sun", "sky", "sea", "ice", "dew", "fog", "air", "day", "cow", "hen", "fox", "owl", "bee", "ant", "ram", "cub",
	"cup", "mug", "jar", "pan", "pot", "tea", "jam", "pie", "bun", "egg", "map", "pen", "ink", "box", "bag", "cap",
	"hat", "rug", "bed", "mat", "toy", "top", "bat", "net", "oar", "hut", "red", "tan", "big", "new", "old", "wee",
}

// word is the text of generated token number i, without its leading space.
func word(seed uint64, i int) string { return words[mix(seed, uint64(i))>>58] }

// textSeed is the identity of an answer: it follows from the prompt and the
// seeds of engine and request, as a real answer at temperature 0 would.
func textSeed(prompt []uint32, seeds ...int64) uint64 {
	h := uint64(len(prompt))
	for _, id := range prompt {
		h = mix(h, uint64(id))
	}
	for _, s := range seeds {
		h = mix(h, uint64(s))
	}
	return h
}

// naturalLength is where an answer ends by itself, in tokens: 16 and an
// exponentially distributed rest of mean 184, so about 200 on average, as in
// ShareGPT.
func naturalLength(seed uint64) int {
	u := float64(mix(seed, math.MaxUint64)>>11) / (1 << 53) // in [0, 1)
	return 16 + int(-math.Log1p(-u)*184)
}
