package collect

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// A seal is a checksum of a whole file inside of it. The Arrow library trusts
// lengths that it reads, and can ask for more memory than there is where a
// byte of them is damaged; so a file is held against its seal before the
// library sees it.
const (
	sealMark  = "vbp-file-crc32c:" // begins the seal wherever it stands
	sealBlank = "00000000"
)

// keySeal is the key of the seal in the metadata.
const keySeal = "vbp.seal"

// errUnsealed is the error of a file that has no seal.
var errUnsealed = errors.New("it has no seal")

// seals are the two places of the seal's digits in a file: the metadata stands
// at the beginning and again at the end. What lies between may be anything.
func seals(data []byte) ([][]byte, error) {
	first, last := bytes.Index(data, []byte(sealMark)), bytes.LastIndex(data, []byte(sealMark))
	if first < 0 {
		return nil, errUnsealed
	}
	if last+len(sealMark)+len(sealBlank) > len(data) {
		return nil, errors.New("it is cut off")
	}
	digits := func(at int) []byte { return data[at+len(sealMark):][:len(sealBlank)] }
	return [][]byte{digits(first), digits(last)}, nil
}

// sumOf is the checksum of data with blank seals, as which it leaves them.
func sumOf(data []byte, places [][]byte) []byte {
	for _, p := range places {
		copy(p, sealBlank)
	}
	return fmt.Appendf(nil, "%08x", crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)))
}

// seal fills in the seals of a file.
func seal(data []byte) error {
	places, err := seals(data)
	if err != nil {
		return err
	}
	sum := sumOf(data, places)
	for _, p := range places {
		copy(p, sum)
	}
	return nil
}

// unseal holds a file against its seals, and leaves these blank.
func unseal(data []byte) error {
	places, err := seals(data)
	if err != nil {
		return err
	}
	want := slices.Clone(places[0])
	if same := bytes.Equal(want, places[1]); !same || !bytes.Equal(sumOf(data, places), want) {
		return errors.New("it is damaged, or was changed after vbp wrote it: export the run again")
	}
	return nil
}
