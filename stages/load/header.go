package load

import (
	"fmt"
	"strings"
)

// CheckHeader says what is wrong with a header field, which must be one line of
// a request and no more: a value with a line end would smuggle in another
// field, and a transport over net/http would fail every request.
func CheckHeader(name, value string) error {
	if name == "" || strings.ContainsFunc(name, notToken) {
		return fmt.Errorf("header %q is not a name that HTTP knows: letters, digits and hyphens", name)
	}
	if strings.ContainsFunc(value, control) {
		return fmt.Errorf("the value of header %q has a line end or another control character; leave that out", name)
	}
	return nil
}

// notToken reports whether r may not stand in a name (RFC 9110, section 5.6.2).
func notToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

// control reports whether r may not stand in a value.
func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
