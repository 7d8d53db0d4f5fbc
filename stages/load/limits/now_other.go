//go:build !linux

package limits

// Now reads the limits. Ports of this system are not known.
func Now() (l Limits) {
	l.Files, l.FilesHard = files()
	return l
}
