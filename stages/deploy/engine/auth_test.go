package engine

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestKeys(t *testing.T) {
	i := start(t, "--api-key=k1", "--api-key", "k2")
	for _, c := range []struct {
		path, header string
		status       int
	}{
		{"/v1/models", "", 401},
		{"/v1/models", "Bearer k1", 200},
		{"/v1/models", "bearer k2", 200},
		{"/v1/models", "Bearer k3", 401},
		{"/v1/models", "Bearer ", 401},
		{"/v1/models", "Basic k1", 401},
		{"/v1/models", "k1", 401},
		{"/v1/nothing", "", 401},
		{"/health", "", 200},
		{"/version", "", 200},
		{"/metrics", "Bearer wrong", 200},
		{"/server_info", "", 200},
	} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, i.url+c.path, nil)
		if c.header != "" {
			req.Header.Set("Authorization", c.header)
		}
		resp, err := i.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.status || c.status == 401 && strings.TrimSpace(string(body)) != `{"error":"Unauthorized"}` {
			t.Errorf("%s with %q: %d %s; want %d", c.path, c.header, resp.StatusCode, body, c.status)
		}
	}
	if status, _ := start(t).ask(http.MethodGet, "/v1/models", nil); status != 200 {
		t.Errorf("without keys: %d", status)
	}
}

func TestReportedVersion(t *testing.T) {
	if v := start(t, "--engine-version=0.27.0rc1").object(http.MethodGet, "/version", nil); v["version"] != "0.27.0rc1" {
		t.Errorf("%v", v)
	}
}
