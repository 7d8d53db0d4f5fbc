//go:build !race && linux

package loop

func beforeSend() {}

func afterRead() {}
