//go:build !linux || !(amd64 || arm64)

package load_test

import (
	"runtime"

	"vbp/stages/load"
)

var kinds = []kind{{netHTTP, func() load.Transport { return fenced{load.NewHTTP()} }}}

// settle gives the client a chance to read.
func (c *conn) settle() { runtime.Gosched() }
