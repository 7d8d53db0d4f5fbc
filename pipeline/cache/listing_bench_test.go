package cache

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// stock makes a store of n artefacts with notes of 700 bytes, without syncs.
func stock(b *testing.B, n int) *Store {
	b.Helper()
	s := open(b, tempDir(b))
	note := []byte(`{"facts":{"sent":` + strings.Repeat("1", 700-len(`{"facts":{"sent":}}`)) + `}}`)
	indexes := make(map[string][]byte)
	for i := range n {
		k := key(fmt.Sprint("stock ", i))
		m := Manifest{
			Key: k, Attempt: NewAttempt(time.Unix(int64(i), 0)), Slot: fmt.Sprintf("sweep: load mode=nixl qps=%d repeat=0", i),
			Input: []byte("1"), Note: note, Created: time.Unix(int64(i), 0), Seconds: 1, Digest: hexSum([]byte(k)),
			Files: []File{{Name: "samples.parquet", Size: 1, SHA256: hexSum([]byte(k))}},
		}
		dir := s.artefactDir(m.Key, m.Attempt)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			b.Fatal(err)
		}
		data, err := m.encode()
		if err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, manifestName), data, 0o644); err != nil {
			b.Fatal(err)
		}
		info, err := os.Stat(dir)
		if err != nil {
			b.Fatal(err)
		}
		h := m.head()
		shard := filepath.Dir(dir)
		indexes[shard] = appendRecord(indexes[shard], &h, inodeOf(info))
	}
	for shard, data := range indexes {
		if err := os.WriteFile(filepath.Join(shard, indexName), data, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	return s
}

func perArtefact(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/artefact")
}

func sizes(b *testing.B, run func(b *testing.B, n int)) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { run(b, n) })
	}
}

// Everything is in the indexes.
func BenchmarkList(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		s := stock(b, n)
		b.ReportAllocs()
		for b.Loop() {
			if l, err := s.List(); err != nil || l.Len() != n {
				b.Fatal(err)
			}
		}
		perArtefact(b, n)
	})
}

// The indexes were deleted, and nothing may be written: one manifest each.
func BenchmarkListWithoutIndex(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		s := stock(b, n)
		for i := range shards {
			_ = os.Remove(filepath.Join(s.root, "objects", shardName(i), indexName))
		}
		looking := At(s.root)
		for b.Loop() {
			if l, err := looking.List(); err != nil || l.Len() != n {
				b.Fatal(err)
			}
		}
		perArtefact(b, n)
	})
}

// One key, in a store of many.
func BenchmarkFind(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		s := stock(b, n)
		k := key(fmt.Sprint("stock ", n/2))
		for b.Loop() {
			if found, err := s.Find(k); err != nil || len(found) != 1 {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkListingFind(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		l, err := stock(b, n).List()
		if err != nil {
			b.Fatal(err)
		}
		k := key(fmt.Sprint("stock ", n/2))
		for b.Loop() {
			if len(l.Find(k)) != 1 {
				b.Fatal("not found")
			}
		}
	})
}

// Half of what is there is pruned.
func BenchmarkPrune(b *testing.B) {
	sizes(b, func(b *testing.B, n int) {
		for b.Loop() {
			b.StopTimer()
			s := stock(b, n)
			l, err := s.List()
			if err != nil {
				b.Fatal(err)
			}
			var victims []*Artefact
			for a := range l.All() {
				if a.Created.Unix()%2 == 0 {
					victims = append(victims, a)
				}
			}
			b.StartTimer()
			if removed, _, err := s.Prune(b.Context(), victims); err != nil || len(removed) != n/2 {
				b.Fatal(err)
			}
		}
		perArtefact(b, n)
	})
}

// One small file, in memory where the machine has a folder there.
func BenchmarkPublish(b *testing.B) {
	s := open(b, tempDir(b))
	for n := 0; b.Loop(); n++ {
		k := key(fmt.Sprint(n))
		if _, err := publish(s, Manifest{Key: k, Slot: string(k), Note: []byte(`{}`)}, map[string]string{"f": "x"}); err != nil {
			b.Fatal(err)
		}
	}
}
