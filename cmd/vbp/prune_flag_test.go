package main

import (
	"strings"
	"testing"
	"time"
)

func TestAge(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30d": 30 * 24 * time.Hour, "1.5d": 36 * time.Hour, "1d12h": 36 * time.Hour, "90m": 90 * time.Minute, "1s": time.Second,
	} {
		var a age
		if err := a.Set(text); err != nil || time.Duration(a) != want {
			t.Errorf("%s is %v, %v; want %v", text, time.Duration(a), err, want)
		}
	}
	for text, want := range map[string]string{
		"30": "with its unit", "": "more than 0", "0d": "more than 0", "-3h": "more than 0", "1d-24h": "more than 0", "30 d": "with its unit",
		"d": "with its unit", "2w": "with its unit", "1d2d": "with its unit", "99999999999d": "too long", "1h1d": "with its unit",
	} {
		var a age
		if err := a.Set(text); err == nil || !strings.Contains(err.Error(), want) || a != 0 {
			t.Errorf("%q: %v (%v), want one that says %q", text, err, a, want)
		}
	}
}

func TestSize(t *testing.T) {
	for text, want := range map[string]int64{
		"1B": 1, "20GB": 20e9, "20 GiB": 20 << 30, "1.5kB": 1500, "500mb": 500e6, "3TiB": 3 << 40, "1PB": 1e15, " 7 MiB ": 7 << 20,
	} {
		var s size
		if err := s.Set(text); err != nil || int64(s) != want {
			t.Errorf("%s is %d, %v; want %d", text, int64(s), err, want)
		}
	}
	for text, want := range map[string]string{
		"20": "with its unit", "": "with its unit", "20G": "with its unit", "-1GB": "with its unit", "1iB": "with its unit", "GB": "with its unit",
		"0GB": "1B or more", "0.1B": "1B or more", "9999999PB": "too large", "1e3GB": "with its unit",
	} {
		var s size
		if err := s.Set(text); err == nil || !strings.Contains(err.Error(), want) || s != 0 {
			t.Errorf("%q: %v (%d), want one that says %q", text, err, int64(s), want)
		}
	}
}

func TestBytesText(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 999: "999 B", 1000: "1 kB", 1234: "1.23 kB", 99_400: "99.4 kB", 99_600: "100 kB", 999_400: "999 kB", 999_600: "1 MB",
		20e9: "20 GB", 5e15: "5 PB", 5e18: "5000 PB",
	} {
		if got := bytesText(n); got != want {
			t.Errorf("%d is %q, not %q", n, got, want)
		}
	}
}
