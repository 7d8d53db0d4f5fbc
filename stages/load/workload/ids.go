package workload

import (
	"math/bits"
	"math/rand/v2"

	"vbp/stages/load/seed"
)

// Token ids are drawn from [firstID, firstID+idSpan). Every model that is
// served today has a vocabulary of at least 32,000, and the first thousand ids
// hold its special and control tokens.
const (
	firstID = 1000
	idSpan  = 29000
)

// heads is the number of different pairs of ids.
const heads = idSpan * idSpan

// streams are independent streams of random numbers for (purpose, seed,
// repeat), one for each number, so that number i is had without those before
// it.
type streams struct{ a, b, start uint64 }

func newStreams(purpose string, seed0 int64, repeat int) streams {
	r := seed.Rand(purpose, seed0, repeat)
	return streams{r.Uint64(), r.Uint64(), r.Uint64N(heads)}
}

// of returns stream number i, by value so that it costs no memory. PCG's
// numbers do not change between versions of Go; its two halves are hashed,
// since neighbouring seeds of it begin close together.
func (s streams) of(i uint64) (r stream) {
	r.Seed(mix(s.a+i), mix(s.b^i))
	return r
}

// stream is a stream of random numbers.
type stream struct{ rand.PCG }

// below draws uniformly from [0, n) by multiplication instead of division. Its
// bias is n/2^64: for a vocabulary 10^-15.
func (r *stream) below(n uint64) uint64 {
	hi, _ := bits.Mul64(r.Uint64(), n)
	return hi
}

// length draws a length from [low, high].
func (r *stream) length(low, high int) int { return low + int(r.below(uint64(high-low+1))) }

// fill draws token ids, two from each number: 32 bits are enough for a bias
// below 10^-5. Fewer ids are the first of more.
func (r *stream) fill(ids []int32) {
	for i := 0; i < len(ids); i += 2 {
		x := r.Uint64()
		ids[i] = firstID + int32(x>>32*idSpan>>32)
		if i+1 < len(ids) {
			ids[i+1] = firstID + int32(x&(1<<32-1)*idSpan>>32)
		}
	}
}

// head overwrites the first two ids by the number of the prompt. A prefix
// cache shares whole blocks from the front: numbered so, no two of the first
// 841 million prompts of a point share even their first block, however short.
func (s streams) head(ids []int32, i int) {
	unique := (s.start + uint64(i)) % heads
	if len(ids) > 0 {
		ids[0] = firstID + int32(unique%idSpan)
	}
	if len(ids) > 1 {
		ids[1] = firstID + int32(unique/idSpan)
	}
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable
// Pseudorandom Number Generators, OOPSLA 2014): every bit of x changes every
// bit of the result with a probability of one half.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
