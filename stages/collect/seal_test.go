package collect

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
)

// The checksum is that of the well-known check value: CRC-32C of "123456789"
// is e3069283.
func TestSeal(t *testing.T) {
	if got := string(sumOf([]byte("123456789"), nil)); got != "e3069283" {
		t.Errorf("checksum %s", got)
	}
	whole := []byte("head " + sealMark + sealBlank + " rows " + sealMark + sealBlank + " foot")
	blank := bytes.Clone(whole)
	if err := seal(whole); err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%s%s", sealMark, sumOf(bytes.Clone(blank), nil))
	if n := bytes.Count(whole, []byte(sum)); n != 2 {
		t.Fatalf("%d seals in %s", n, whole)
	}
	for i := range whole {
		flipped := bytes.Clone(whole)
		flipped[i] ^= 1
		if unseal(flipped) == nil {
			t.Errorf("byte %d was changed and nobody noticed", i)
		}
	}
	if err := unseal(whole); err != nil || !bytes.Equal(whole, blank) {
		t.Errorf("%v: %s", err, whole)
	}
	if err := unseal([]byte("nothing")); !errors.Is(err, errUnsealed) {
		t.Errorf("no seal: %v", err)
	}
	if err := unseal([]byte(sealMark + "00")); err == nil {
		t.Error("a seal that is cut off holds")
	}
}
