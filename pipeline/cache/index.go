package cache

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"time"
)

// An index is what a shard's manifests say in their heads, appended to one
// file: derived data that may be deleted, torn or overwritten at any time, at
// the price of reading manifests. A record counts if its checksum is right and
// if a folder is listed that has its name and its inode. The inode is what
// ties a record to the very folder that it was made of: it is another after
// the folder was replaced, or after the store was copied.
//
// A record, in little endian:
//
//	magic, length of the body (4 bytes), CRC-32C of the body
//	body: inode (8), created: seconds (8) and nanoseconds (4), seconds (8),
//	      bytes (8), key (32), lengths of attempt, digest (2 each), slot, note
//	      (4 each); then attempt, digest, slot, note
const (
	indexName   = "index"
	recordMagic = "vbp1"
	recordHead  = len(recordMagic) + 4 + 4
	bodyHead    = 8 + 8 + 4 + 8 + 8 + keyLen/2 + 2 + 2 + 4 + 4
	noteLengths = bodyHead - 12 // where the four lengths begin

	// longestRecord bounds what a length that is not ours can make us hash.
	// What is longer is not noted: its manifest is read.
	longestRecord = 1 << 20
	// longestIndex is far beyond a shard of 100,000 records; a longer one is
	// not ours.
	longestIndex = 256 << 20
	// mostBroken is how many broken places an index may have before it is
	// taken for something else: looking for the next record from each is
	// work.
	mostBroken = 64
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendRecord appends h as it is noted of the folder with an inode; nothing,
// if it is too long for that.
func appendRecord(to []byte, h *Head, inode uint64) []byte {
	var key [keyLen / 2]byte
	if n, err := hex.Decode(key[:], []byte(h.Key)); err != nil || n != len(key) {
		return to
	}
	if len(h.Attempt) > math.MaxUint16 || len(h.Digest) > math.MaxUint16 ||
		bodyHead+len(h.Attempt)+len(h.Digest)+len(h.Slot)+len(h.Note) > longestRecord {
		return to
	}
	le := binary.LittleEndian
	start := len(to)
	to = append(to, recordMagic...)
	to = append(to, make([]byte, 8)...) // length and checksum
	to = le.AppendUint64(to, inode)
	to = le.AppendUint64(to, uint64(h.Created.Unix()))
	to = le.AppendUint32(to, uint32(h.Created.Nanosecond()))
	to = le.AppendUint64(to, math.Float64bits(h.Seconds))
	to = le.AppendUint64(to, uint64(h.Bytes))
	to = append(to, key[:]...)
	to = le.AppendUint16(to, uint16(len(h.Attempt)))
	to = le.AppendUint16(to, uint16(len(h.Digest)))
	to = le.AppendUint32(to, uint32(len(h.Slot)))
	to = le.AppendUint32(to, uint32(len(h.Note)))
	to = append(to, h.Attempt...)
	to = append(to, h.Digest...)
	to = append(to, h.Slot...)
	to = append(to, h.Note...)
	body := to[start+recordHead:]
	le.PutUint32(to[start+4:], uint32(len(body)))
	le.PutUint32(to[start+8:], crc32.Checksum(body, castagnoli))
	return to
}

// record is one record in the bytes of an index.
type record struct {
	body                        []byte
	attempt, digest, slot, note []byte
}

func (r record) inode() uint64 { return binary.LittleEndian.Uint64(r.body) }

func (r record) key() []byte { return r.body[noteLengths-keyLen/2 : noteLengths] }

// fill gives h what is neither text nor name.
func (r record) fill(h *Head) {
	le := binary.LittleEndian
	h.Created = time.Unix(int64(le.Uint64(r.body[8:])), int64(le.Uint32(r.body[16:]))).UTC()
	h.Seconds = math.Float64frombits(le.Uint64(r.body[20:]))
	h.Bytes = int64(le.Uint64(r.body[28:]))
}

// parseRecord reads the record at the start of data. size is what it takes;
// ok is false if there is none that is whole.
func parseRecord(data []byte) (r record, size int, ok bool) {
	le := binary.LittleEndian
	if len(data) < recordHead+bodyHead || string(data[:len(recordMagic)]) != recordMagic {
		return record{}, 0, false
	}
	n := le.Uint32(data[len(recordMagic):])
	if n < bodyHead || n > longestRecord || int(n) > len(data)-recordHead {
		return record{}, 0, false
	}
	size = recordHead + int(n)
	body := data[recordHead:size]
	if crc32.Checksum(body, castagnoli) != le.Uint32(data[len(recordMagic)+4:]) {
		return record{}, 0, false
	}
	r, ok = splitBody(body)
	return r, size, ok
}

// splitBody finds the parts of a record's body.
func splitBody(body []byte) (r record, ok bool) {
	le := binary.LittleEndian
	attempt, digest := uint64(le.Uint16(body[noteLengths:])), uint64(le.Uint16(body[noteLengths+2:]))
	slot, note := uint64(le.Uint32(body[noteLengths+4:])), uint64(le.Uint32(body[noteLengths+8:]))
	rest := body[bodyHead:]
	if attempt+digest+slot+note != uint64(len(rest)) {
		return record{}, false
	}
	r.body = body
	r.attempt, rest = rest[:attempt], rest[attempt:]
	r.digest, rest = rest[:digest], rest[digest:]
	r.slot, r.note = rest[:slot], rest[slot:]
	return r, true
}

// scanIndex calls each for every whole record in data, in order, with where it
// lies, and reports whether there is anything else.
func scanIndex(data []byte, each func(from, to int, r record)) (broken bool) {
	places := 0
	for at := 0; at < len(data); {
		r, size, ok := parseRecord(data[at:])
		if ok {
			each(at, at+size, r)
			at += size
			continue
		}
		if places++; places > mostBroken {
			return true
		}
		next := bytes.Index(data[at+1:], []byte(recordMagic))
		if next < 0 {
			return true
		}
		at += 1 + next
	}
	return places > 0
}

// readIndex reads a shard's index into buf, which it may enlarge. An index
// that cannot be read is empty.
func readIndex(dir string, buf []byte) []byte {
	f, err := os.Open(filepath.Join(dir, indexName))
	if err != nil {
		return buf[:0]
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > longestIndex {
		return buf[:0]
	}
	size := int(info.Size())
	if cap(buf) < size {
		buf = make([]byte, size+size/8)
	}
	buf = buf[:size]
	for n := 0; n < size; {
		k, err := f.Read(buf[n:])
		if n += k; err != nil {
			return buf[:n]
		}
	}
	return buf
}

// addToIndex appends records in one write.
func addToIndex(dir string, records []byte) error {
	if len(records) == 0 {
		return nil
	}
	f, err := os.OpenFile(filepath.Join(dir, indexName), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(records)
	return errors.Join(err, f.Close())
}
