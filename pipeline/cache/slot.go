package cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Slots lists the slots that hold something, as SlotName gives their names.
func (s *Store) Slots() (map[string]bool, error) {
	var names [shards][]string
	err := s.eachShard("slots", func() func(int) error {
		buf := make([]byte, 64<<10)
		return func(i int) error {
			var text []byte
			err := readDir(filepath.Join(s.root, "slots", shardName(i)), buf, func(name []byte, _ uint64, _ bool) {
				if len(name) == keyLen {
					text = append(text, name...)
				}
			})
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("cannot look into the store: %w", err)
			}
			for all := string(text); all != ""; all = all[keyLen:] {
				names[i] = append(names[i], all[:keyLen])
			}
			return nil
		}
	})
	if err != nil {
		return nil, err
	}
	n := 0
	for _, shard := range names {
		n += len(shard)
	}
	slots := make(map[string]bool, n)
	for _, shard := range names {
		for _, name := range shard {
			slots[name] = true
		}
	}
	return slots, nil
}

// SlotName is the name under which Slots lists a slot.
func SlotName(slot string) string { return hexSum([]byte(slot)) }

// Last returns the artefact that was published last in a slot; nil if none
// was, ErrGone if it has been removed since, ErrDamaged if it cannot be read.
func (s *Store) Last(slot string) (*Artefact, error) {
	data, err := os.ReadFile(s.slotFile(slot))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot look into the store: %w", err)
	}
	key, attempt, ok := parseSlot(data)
	if !ok {
		return nil, nil // torn by a power cut; it only serves reasons
	}
	return s.read(key, attempt)
}

func parseSlot(data []byte) (k Key, attempt string, ok bool) {
	key, attempt, ok := strings.Cut(strings.TrimSuffix(string(data), "\n"), " ")
	return Key(key), attempt, ok && Key(key).valid() && validAttempt(attempt)
}

// Use notes that a slot holds an artefact that was published in another, so
// that Last returns it.
func (s *Store) Use(slot string, a *Artefact) error {
	if slot == "" {
		return nil
	}
	l, err := s.beside() // a prune looks what a slot points to before it removes it
	if err != nil {
		return err
	}
	path := s.slotFile(slot)
	if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
		err = s.replaceFile(path, []byte(string(a.Key)+" "+a.Attempt+"\n"))
	}
	return errors.Join(err, l.Release())
}

func (s *Store) slotFile(slot string) string {
	name := SlotName(slot)
	return filepath.Join(s.root, "slots", name[:2], name)
}
