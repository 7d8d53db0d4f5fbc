// Package seed turns the seed of an experiment into independent streams of
// random numbers, one for each purpose and repeat, so that drawing prompts
// never shifts the arrivals and repeat r of one mode equals repeat r of
// another. Its neighbours are workload and arrivals.
package seed

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
)

// Rand returns the stream that belongs to (purpose, seed, repeat). Equal
// arguments give equal streams on every machine: PCG is a published generator
// whose numbers do not change, and tests of arrivals and workload pin what is
// drawn through it. The arguments are hashed, since neighbouring seeds of a
// generator of this family start close together.
func Rand(purpose string, seed int64, repeat int) *rand.Rand {
	b := make([]byte, 0, 64)
	b = append(b, "vbp/seed/1\x00"...)
	b = binary.LittleEndian.AppendUint64(b, uint64(seed))
	b = binary.LittleEndian.AppendUint64(b, uint64(int64(repeat)))
	b = append(b, purpose...)
	sum := sha256.Sum256(b)
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(sum[:8]), binary.LittleEndian.Uint64(sum[8:16])))
}
