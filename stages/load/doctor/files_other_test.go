//go:build !unix

package doctor

import "math"

// raiseFiles: this system has no such limit.
func raiseFiles() uint64 { return math.MaxUint64 }
