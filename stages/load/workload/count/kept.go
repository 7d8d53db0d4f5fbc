package count

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// sum names a text: the first half of its SHA-256.
type sum [16]byte

func sumOf(text string) (s sum) {
	whole := sha256.Sum256([]byte(text))
	copy(s[:], whole[:])
	return s
}

// kept is the counts that are known, and the file that keeps them: a line for
// each text, of the name of the text, its tokens and a checksum of both. Lines
// are only ever appended, each by one write that begins with the end of the
// line before. So a line that a killed writer or a full disk left cut short
// damages no other, its checksum tells, and its text is asked for again; and
// of two writers each finds what the other one wrote when it opens the file
// next.
type kept struct {
	path string // "": in memory only

	mu     sync.Mutex
	counts map[sum]int
	file   *os.File // while something is under way
	users  int      // how much
}

// head begins a file, for whoever looks into it.
const head = "# tokens of texts: SHA-256 of the text (its first half), tokens, CRC-32 of the two"

// openKept reads what is kept of an identity in a folder.
func openKept(dir, model, identity string) (*kept, error) {
	k := &kept{counts: make(map[sum]int)}
	if dir == "" {
		return k, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("the folder for counts of tokens: %w", err)
	}
	k.path = filepath.Join(dir, fileName(model)+"-"+identity+".counts")
	f, err := os.Open(k.path)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("counts of tokens: %w", err)
	}
	defer f.Close()
	lines := bufio.NewReader(f)
	for {
		line, err := lines.ReadSlice('\n')
		if s, n, ok := parseLine(string(line)); ok {
			k.counts[s] = n
		}
		// One that fills the buffer is no line of ours; its pieces are passed.
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			break
		}
	}
	return k, nil
}

// fileName is a model's name in a form that every file system takes.
func fileName(model string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, model[strings.LastIndexByte(model, '/')+1:])
	return strings.TrimLeft(name[:min(len(name), 60)], ".")
}

func (k *kept) get(s sum) (int, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n, ok := k.counts[s]
	return n, ok
}

// begin opens the file for putting; end closes it after the last who did.
func (k *kept) begin() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.path != "" && k.file == nil {
		f, err := os.OpenFile(k.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		if err != nil {
			return fmt.Errorf("counts of tokens: %w", err)
		}
		if st, err := f.Stat(); err == nil && st.Size() == 0 {
			if _, err := f.WriteString(head); err != nil {
				f.Close()
				return fmt.Errorf("counts of tokens: %w", err)
			}
		}
		k.file = f
	}
	k.users++
	return nil
}

func (k *kept) end() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.users--; k.users == 0 && k.file != nil {
		k.file.Close() // each line was written as it came
		k.file = nil
	}
}

// put keeps a count. That of a text which a server was not able to count is
// known to this process only: the next server may be.
func (k *kept) put(s sum, n int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.counts[s] = n
	if k.file == nil || n == TooLong {
		return nil
	}
	if _, err := k.file.WriteString("\n" + formatLine(s, n)); err != nil {
		return fmt.Errorf("counts of tokens: %w", err)
	}
	return nil
}

func formatLine(s sum, n int) string {
	text := hex.EncodeToString(s[:]) + " " + strconv.Itoa(n)
	return fmt.Sprintf("%s %08x", text, crc32.ChecksumIEEE([]byte(text)))
}

func parseLine(line string) (s sum, n int, ok bool) {
	line = strings.TrimSuffix(line, "\n")
	name, rest, _ := strings.Cut(line, " ")
	number, _, _ := strings.Cut(rest, " ")
	n, err := strconv.Atoi(number)
	if err != nil || len(name) != 2*len(s) {
		return s, 0, false
	}
	if _, err := hex.Decode(s[:], []byte(name)); err != nil {
		return s, 0, false
	}
	return s, n, formatLine(s, n) == line
}
