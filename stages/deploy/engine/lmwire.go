package engine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The protocol of an LMCache server (lm://), read from LMCache 0.5's sources.
// Client and server exchange headers of 32-bit integers in the host's byte
// order, which is little-endian wherever vLLM runs:
//
//	client: command, length, format, dtype, location, shape (4), key (150 bytes, padded with spaces)
//	server: code, length, format, dtype, shape (4), location
//
// A PUT is followed by length bytes and is not answered; the answer to a GET
// that succeeds is followed by length bytes.
const (
	lmPut    = 1
	lmGet    = 2
	lmExist  = 3
	lmHealth = 5

	lmSuccess = 200
	lmFail    = 400

	lmKeyLength    = 150
	lmClientHeader = 9*4 + lmKeyLength
	lmServerHeader = 9 * 4

	lmBinary = 4 // format of plain bytes
	lmUint8  = 6 // their dtype

	// lmMaxObject bounds one object: a chunk of 256 tokens of a large model
	// has some 100 MB of KV.
	lmMaxObject = 1 << 30
)

// lmRequest is a client's header.
type lmRequest struct {
	command int32
	length  int32
	format  int32
	dtype   int32
	shape   [4]int32
	key     string
}

func (r *lmRequest) bytes() []byte {
	b := make([]byte, 0, lmClientHeader)
	for _, v := range [9]int32{r.command, r.length, r.format, r.dtype, 0, r.shape[0], r.shape[1], r.shape[2], r.shape[3]} {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return append(b, fmt.Sprintf("%-*s", lmKeyLength, r.key)...)
}

// readLMRequest reads a header; io.EOF if the client has no more to say.
func readLMRequest(from io.Reader) (lmRequest, error) {
	var b [lmClientHeader]byte
	if _, err := io.ReadFull(from, b[:]); err != nil {
		return lmRequest{}, err
	}
	v := ints(b[:9*4])
	r := lmRequest{
		command: v[0], length: v[1], format: v[2], dtype: v[3], shape: [4]int32(v[5:9]),
		key: strings.TrimSpace(string(b[9*4:])),
	}
	if r.length < 0 || r.length > lmMaxObject {
		return r, fmt.Errorf("an object of %d bytes is announced", r.length)
	}
	return r, nil
}

// lmObject is what is stored under a key, with its description.
type lmObject struct {
	format, dtype int32
	shape         [4]int32
	data          []byte
}

func lmAnswer(code int32, o lmObject) []byte {
	b := make([]byte, 0, lmServerHeader+len(o.data))
	for _, v := range [9]int32{code, int32(len(o.data)), max(1, o.format), o.dtype, o.shape[0], o.shape[1], o.shape[2], o.shape[3], 0} {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return append(b, o.data...)
}

// readLMAnswer reads an answer and what follows it. found is false for a key
// that is not there.
func readLMAnswer(from io.Reader) (data []byte, found bool, err error) {
	var b [lmServerHeader]byte
	if _, err := io.ReadFull(from, b[:]); err != nil {
		return nil, false, err
	}
	v := ints(b[:])
	switch code, length := v[0], v[1]; {
	case code == lmFail:
		return nil, false, nil
	case code != lmSuccess:
		return nil, false, fmt.Errorf("the answer has code %d; is this an LMCache server?", code)
	case length < 0 || length > lmMaxObject:
		return nil, false, errors.New("the answer announces an impossible length")
	default:
		data = make([]byte, length)
		_, err = io.ReadFull(from, data)
		return data, err == nil, err
	}
}

func ints(b []byte) []int32 {
	v := make([]int32, len(b)/4)
	for i := range v {
		v[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}
