package workload

import "math/bits"

// mersenne is the generator behind Python's random.Random, MT19937 (Matsumoto
// and Nishimura: Mersenne Twister, ACM TOMACS 8/1, 1998), with what Python
// makes of it: seeding by a number, random integers and the shuffle
// (https://github.com/python/cpython, Lib/random.py and
// Modules/_randommodule.c). vLLM orders ShareGPT's conversations by it, so
// whoever compares the two tools gets the same prompts from both.
type mersenne struct {
	state [mersenneSize]uint32
	next  int // of state, to be given out; mersenneSize: none is left
}

const mersenneSize = 624

// newMersenne is Python's random.seed(seed): the words of the number's absolute
// value, the lowest first, are the key of init_by_array.
func newMersenne(seed uint64) *mersenne {
	key := []uint32{uint32(seed)}
	if high := uint32(seed >> 32); high != 0 {
		key = append(key, high)
	}
	m := &mersenne{next: mersenneSize}
	s := &m.state
	s[0] = 19650218
	for i := 1; i < mersenneSize; i++ {
		s[i] = 1812433253*(s[i-1]^s[i-1]>>30) + uint32(i)
	}
	// Both rounds walk over words 1 to 623 in a circle; word 0 takes over
	// what the last one became.
	i := 1
	step := func() {
		if i++; i == mersenneSize {
			s[0], i = s[mersenneSize-1], 1
		}
	}
	for k := range mersenneSize { // the key is never longer than the state
		j := k % len(key)
		s[i] = (s[i] ^ (s[i-1]^s[i-1]>>30)*1664525) + key[j] + uint32(j)
		step()
	}
	for range mersenneSize - 1 {
		s[i] = (s[i] ^ (s[i-1]^s[i-1]>>30)*1566083941) - uint32(i)
		step()
	}
	s[0] = 1 << 31
	return m
}

// word gives the next 32 bits.
func (m *mersenne) word() uint32 {
	if m.next == mersenneSize {
		m.twist()
	}
	y := m.state[m.next]
	m.next++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

// twist makes the next 624 words.
func (m *mersenne) twist() {
	const shift, matrix, upper = 397, 0x9908b0df, 1 << 31
	s := &m.state
	for i := range s {
		y := s[i]&upper | s[(i+1)%mersenneSize]&(upper-1)
		s[i] = s[(i+shift)%mersenneSize] ^ y>>1 ^ y&1*matrix
	}
	m.next = 0
}

// below is Python's randrange(n), for 0 < n < 2^32: as many bits as n has,
// until they make a number below it.
func (m *mersenne) below(n uint32) uint32 {
	for shift := 32 - bits.Len32(n); ; {
		if r := m.word() >> shift; r < n {
			return r
		}
	}
}

// shuffled is what Python's random.shuffle makes of range(n).
func (m *mersenne) shuffled(n int) []int32 {
	order := make([]int32, n)
	for i := range order {
		order[i] = int32(i)
	}
	for i := n - 1; i > 0; i-- {
		j := m.below(uint32(i + 1))
		order[i], order[j] = order[j], order[i]
	}
	return order
}
