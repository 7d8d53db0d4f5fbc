package main

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// age is a flag's duration, which may count days.
type age time.Duration

var days = regexp.MustCompile(`^(\d+(?:\.\d+)?)d`)

// Set reads 30d, 1d12h, 90m.
func (a *age) Set(text string) error {
	rest, sum := text, time.Duration(0)
	if m := days.FindStringSubmatch(text); m != nil {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil || n > 100_000 {
			return errors.New("that is too long")
		}
		sum, rest = time.Duration(n*24*float64(time.Hour)), text[len(m[0]):]
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil {
			return errors.New("want a time with its unit: 30d, 12h, 90m")
		}
		sum += d
	}
	if sum <= 0 {
		return errors.New("must be more than 0; 1s is every run that has ended")
	}
	*a = age(sum)
	return nil
}

func (a *age) String() string { return time.Duration(*a).String() }

// Type is what help calls it.
func (a *age) Type() string { return "time" }

// size is a flag's number of bytes.
type size int64

var sizeForm = regexp.MustCompile(`(?i)^(\d+(?:\.\d+)?)\s*([kmgtp]?)(i?)b$`)

// Set reads 20GB, 500 MiB.
func (s *size) Set(text string) error {
	m := sizeForm.FindStringSubmatch(strings.TrimSpace(text))
	if m == nil || m[2] == "" && m[3] != "" {
		return errors.New("want a size with its unit: 500MB, 20GB, 20GiB")
	}
	n, err := strconv.ParseFloat(m[1], 64)
	unit := 1000.0
	if m[3] != "" {
		unit = 1024
	}
	for i := strings.Index("kmgtp", strings.ToLower(m[2])); m[2] != "" && i >= 0; i-- {
		n *= unit
	}
	switch {
	case err != nil || n >= 1<<62:
		return errors.New("that is too large")
	case n < 1:
		return errors.New("must be 1B or more; to remove every run, say --older-than 1s --all")
	}
	*s = size(n)
	return nil
}

func (s *size) String() string { return bytesText(int64(*s)) }

// Type is what help calls it.
func (s *size) Type() string { return "size" }

// bytesText is a size in the largest decimal unit that fits.
func bytesText(n int64) string {
	v, units := float64(n), []string{"B", "kB", "MB", "GB", "TB", "PB"}
	i := 0
	for ; v >= 999.5 && i < len(units)-1; i++ {
		v /= 1000
	}
	if i == 0 || v >= 99.5 {
		return fmt.Sprintf("%.0f %s", v, units[i])
	}
	return fmt.Sprintf("%.3g %s", v, units[i])
}
