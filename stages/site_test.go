package stages

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// TestCodeIdentity holds that what identifies a program depends on its code
// and not on where it lies.
func TestCodeIdentity(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	identity := func(name string, data []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o755); err != nil {
			t.Fatal(err)
		}
		id, err := codeIdentity(path)
		if err != nil || id == "" {
			t.Fatalf("%q, %v", id, err)
		}
		return id
	}
	here, err := codeIdentity(self)
	if err != nil {
		t.Fatal(err)
	}
	if there := identity("copy", data); there != here {
		t.Errorf("a copy is %s, not %s", there, here)
	}
	if id := buildID(self); id == "" {
		t.Log("this test binary has no build ID, so its bytes were hashed")
	} else {
		other := bytes.Replace(data, []byte(id[:8]), []byte("xxxxxxxx"), 1)
		if identity("other", other) == here {
			t.Error("another build is the same")
		}
	}
	// Not a program that Go built: the bytes count.
	if identity("script", []byte("#!/bin/sh\n")) == identity("script2", []byte("#!/bin/sh\n\n")) {
		t.Error("two scripts are the same")
	}
	_, err = codeIdentity(filepath.Join(dir, "nowhere"))
	mustContain(t, err, "cannot read the program itself")
}

func TestNewSite(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewSite(self, "results", fixed{}, fixed{})
	if err != nil {
		t.Fatal(err)
	}
	if s.Self != self || s.Results != "results" || s.Code == "" || s.Now == nil || s.Local == nil || s.Attach == nil {
		t.Errorf("%+v", s)
	}
	// It tells machines apart, and is the same each time.
	if want := strconv.Itoa(runtime.NumCPU()) + " cores"; !strings.Contains(s.Host, want) || s.Host != hostFingerprint() {
		t.Errorf("the host is %q, then %q", s.Host, hostFingerprint())
	}
}
