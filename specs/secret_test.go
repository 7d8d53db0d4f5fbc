package specs

import "testing"

// A secret that begins as another does is redacted whole.
func TestRedact(t *testing.T) {
	env := map[string]string{"AAA": "hunter22", "BBB": "hunter22-LONGTAIL", "TINY": "ab"}
	e, err := Parse("spec.yaml", []byte(`
modes:
  a:
    endpoint: http://127.0.0.1:1
    headers: {Authorization: "Bearer ${secret:AAA} ${secret:BBB} ${secret:TINY} ${secret:UNSET}"}
sweep: {qps: [1]}
`), Options{Env: func(name string) (string, bool) { v, ok := env[name]; return v, ok }})
	if err != nil {
		t.Fatal(err)
	}
	got := e.Redact("keys hunter22, hunter22-LONGTAIL and ab")
	if want := "keys ${secret:AAA}, ${secret:BBB} and ab"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if err := e.CheckSecrets(); err == nil {
		t.Error("UNSET is not in the environment, and that is no error")
	}
	env["UNSET"] = "now it is"
	if err := e.CheckSecrets(); err != nil {
		t.Error(err)
	}
}
