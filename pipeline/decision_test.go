package pipeline

import (
	"testing"
	"time"
)

func TestEnvironmentDiff(t *testing.T) {
	type env = map[string]string
	for _, tc := range []struct {
		measured, live env
		whole          bool
		want           string
	}{
		{env{"v": "1"}, env{"v": "1"}, true, ""},
		{env{"v": "1"}, env{"v": "2"}, true, "v: 1 -> 2"},
		{env{"v": "1", "w": "1"}, env{"v": "1"}, true, "w: 1 -> none"},
		{env{"v": "1", "w": "1"}, env{"v": "1"}, false, ""},
		{env{}, env{"v": "1"}, false, "v: none -> 1"},
		{env{"v": "1", "w": "1"}, env{"v": "2", "w": "2"}, true, "v: 1 -> 2; w: 1 -> 2"},
		{nil, nil, true, ""},
		{env{"v": "1"}, nil, true, "v: 1 -> none"},
	} {
		if got := environmentDiff(tc.measured, tc.live, tc.whole); got != tc.want {
			t.Errorf("%v, %v: got %q, want %q", tc.measured, tc.live, got, tc.want)
		}
	}
}

func TestAgo(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "just now", 59 * time.Second: "just now", 90 * time.Second: "1 min ago",
		119 * time.Minute: "1 h ago", 47 * time.Hour: "47 h ago", 49 * time.Hour: "2 days ago",
	} {
		if got := ago(d); got != want {
			t.Errorf("%s: %s, want %s", d, got, want)
		}
	}
}
