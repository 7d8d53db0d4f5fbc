package attach

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"vbp/stages/deploy"
)

// A real llama-server, attached to as soon as it listens: it is waited for
// while it loads, and says what it is.
func TestRealLlamaServer(t *testing.T) {
	program, model := os.Getenv("VBP_LLAMA_SERVER"), os.Getenv("VBP_LLAMA_MODEL")
	if program == "" || model == "" {
		t.Skip("VBP_LLAMA_SERVER (path of llama-server) and VBP_LLAMA_MODEL (a GGUF file) are not set")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(address)
	cmd := exec.Command(program, "-m", model, "--host", "127.0.0.1", "--port", port, "-t", "1", "-np", "2", "-c", "1024", "--alias", "named", "--api-key", "k")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for deadline := time.Now().Add(time.Minute); ; {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	d := deploy.Deployment{Endpoint: "http://" + address, Model: "named"}
	if _, err := New().Start(t.Context(), d, deploy.Options{API: "chat"}); err == nil || !strings.Contains(err.Error(), "set headers of the mode") {
		t.Errorf("without its key: %v", err)
	}
	for _, api := range []string{"chat", "completions"} {
		r, err := New().Start(t.Context(), d, deploy.Options{API: api, Headers: map[string]string{"Authorization": "Bearer k"}})
		if err != nil {
			t.Fatal(err)
		}
		env := r.Environment()
		if env["server"] != "llama.cpp" || env["engine_version"] == "" || env["model_root"] != model || env["max_num_seqs"] != "2" || env["max_model_len"] != "512" {
			t.Errorf("%v", env)
		}
		if could, err := r.ResetCaches(t.Context()); could || err != nil {
			t.Errorf("reset: %v, %v", could, err)
		}
	}
}
