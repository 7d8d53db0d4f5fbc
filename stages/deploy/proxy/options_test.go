package proxy

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func TestFlags(t *testing.T) {
	var o Options
	fs := pflag.NewFlagSet("proxy", pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	o.Flags(fs)
	if o.Host != "127.0.0.1" || o.Port != 8192 || o.Connector != "nixl" {
		t.Errorf("defaults are %+v", o)
	}
	err := fs.Parse(strings.Fields("--port 0 --prefill http://a:1 --prefill http://b:1/ --decode http://c:1?,x --decode-x"))
	if err == nil {
		t.Error("an unknown flag is accepted")
	}
	o = Options{}
	fs = pflag.NewFlagSet("proxy", pflag.ContinueOnError)
	o.Flags(fs)
	if err := fs.Parse(strings.Fields("--host 0.0.0.0 --port 0 --connector lmcache --prefill http://a:1 --decode http://c:1 --decode http://d:1 --prefill-timeout 2m")); err != nil {
		t.Fatal(err)
	}
	if o.Port != 0 || o.Host != "0.0.0.0" || len(o.Prefill) != 1 || len(o.Decode) != 2 || o.PrefillTimeout != 2*time.Minute {
		t.Errorf("parsed %+v", o)
	}
	if err := o.Check(); err == nil || !strings.Contains(err.Error(), "2 decode instances: lmcache works with exactly one") {
		t.Errorf("check says %v", err)
	}
	o.Connector = NIXL
	if err := o.Check(); err != nil {
		t.Errorf("check says %v", err)
	}
}

func TestCheck(t *testing.T) {
	good := []string{"http://127.0.0.1:8100"}
	tests := []struct {
		o    Options
		want []string // each in the error
	}{
		{Options{}, []string{"no prefill instance: give at least one with --prefill URL", "no decode instance"}},
		{Options{Port: 70000, Connector: "nixle", Prefill: good, Decode: good, ProbeTimeout: -1}, []string{"70000", `"nixle"`, "probe timeout"}},
		{Options{Prefill: []string{"localhost:8100"}, Decode: good}, []string{"did you mean http://localhost:8100"}},
		{Options{Prefill: []string{"http://a:1/v1/"}, Decode: good}, []string{"without /v1"}},
		{Options{Prefill: []string{"http://a:1", "http://a:1/"}, Decode: good}, []string{"given twice"}},
		{Options{Prefill: []string{"ftp://a"}, Decode: []string{"http://:80"}}, []string{"http or https", "no host"}},
		{Options{Prefill: []string{"http://a:1?x=1"}, Decode: []string{"http://u:secret@b"}}, []string{"without ?", "credentials"}},
		{Options{Prefill: []string{"http://a b"}, Decode: []string{"http://a:port"}}, []string{`"http://a b" is not a URL`, "port"}},
	}
	for _, tt := range tests {
		err := tt.o.Check()
		if err == nil {
			t.Errorf("%+v is accepted", tt.o)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%+v: error %q lacks %q", tt.o, err, want)
			}
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("error tells a password: %v", err)
		}
		if _, err := New(tt.o); err == nil {
			t.Errorf("New accepts %+v", tt.o)
		}
	}
	if err := (&Options{Prefill: good, Decode: good}).Check(); err != nil {
		t.Errorf("one instance in both roles: %v", err)
	}
}
