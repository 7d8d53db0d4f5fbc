package load

import "testing"

// A field cannot smuggle another one in.
func TestCheckHeader(t *testing.T) {
	for name, value := range map[string]string{
		"X-A":         "b\r\nX-C: d",
		"X-B":         "b\nX-C: d",
		"X-D":         "\x00",
		"X-E":         "\x7f",
		"X-A: b\r\nX": "c",
		"X A":         "b",
		"":            "b",
		"X:":          "b",
		"X(1)":        "b",
		"Ä":           "b",
		"X-Grüße_1!":  "b",
	} {
		if CheckHeader(name, value) == nil {
			t.Errorf("%q: %q was taken", name, value)
		}
	}
	for name, value := range map[string]string{"X-Name_1!": "grüße\tan alle", "a": ""} {
		if err := CheckHeader(name, value); err != nil {
			t.Error(err)
		}
	}
}
