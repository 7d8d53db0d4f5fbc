package upkeep

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"vbp/stages/runs"
)

// inode is a file, however many names it has.
type inode struct{ device, number uint64 }

// footprint is what the files below a folder take on the disk: whole blocks,
// as du counts them.
type footprint struct {
	own    int64  // bytes that are free once the folder is deleted
	shared []link // names of files that have others too, one for each name here
}

type link struct {
	file  inode
	names uint64 // in all
	bytes int64
}

// measure takes the footprint of a folder, or of a file. What is not there, or
// goes meanwhile, takes nothing.
func measure(path string) (footprint, error) {
	var p footprint
	err := filepath.WalkDir(path, func(_ string, d fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil {
			info, err = d.Info()
		}
		if err == nil {
			p.add(info)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return p, err
}

func (p *footprint) add(info fs.FileInfo) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		p.own += info.Size()
		return
	}
	bytes := int64(st.Blocks) * 512 // the unit of stat, whatever the file system's is
	if names := uint64(st.Nlink); names > 1 && !info.IsDir() {
		p.shared = append(p.shared, link{inode{uint64(st.Dev), st.Ino}, names, bytes})
		return
	}
	p.own += bytes
}

// deletions adds up what deleting several folders frees: a file is gone with
// the last of its names, wherever these are.
type deletions struct {
	names  map[inode]uint64
	inside map[inode]uint64 // names below the results folder, if they were counted
	fewer  int64            // bytes that du counts less there: others may still name the files
}

func newDeletions() *deletions { return &deletions{names: make(map[inode]uint64)} }

// take deletes one more folder, and returns what that frees.
func (d *deletions) take(p footprint) (freed int64) {
	freed = p.own
	d.fewer += p.own
	for _, l := range p.shared {
		d.names[l.file]++
		if d.names[l.file] == l.names {
			freed += l.bytes
		}
		if d.names[l.file] == d.inside[l.file] {
			d.fewer += l.bytes
		}
	}
	return freed
}

// usage is the footprint of a results folder. The folders of experiments and
// the store may be links to other disks.
func usage(results string) (footprint, error) {
	p, err := measure(followed(results))
	if err != nil {
		return p, err
	}
	entries, err := os.ReadDir(results)
	if err != nil {
		return p, err
	}
	for _, e := range entries {
		path := filepath.Join(results, e.Name())
		if e.Type()&fs.ModeSymlink == 0 || !runs.IsFolder(path, e) {
			continue
		}
		q, err := measure(followed(path))
		if err != nil {
			return p, err
		}
		p.own += q.own
		p.shared = append(p.shared, q.shared...)
	}
	return p, nil
}

// followed is where a link leads.
func followed(path string) string {
	if to, err := filepath.EvalSymlinks(path); err == nil {
		return to
	}
	return path
}

// total is what the folder takes, every file once.
func (p *footprint) total() int64 {
	total := p.own
	for _, bytes := range p.files() {
		total += bytes
	}
	return total
}

// names counts the names of each of these files.
func (p *footprint) names() map[inode]uint64 {
	out := make(map[inode]uint64)
	for _, l := range p.shared {
		out[l.file]++
	}
	return out
}

// files is what each of the files that have several names takes.
func (p *footprint) files() map[inode]int64 {
	out := make(map[inode]int64)
	for _, l := range p.shared {
		out[l.file] = l.bytes
	}
	return out
}

// bookkeeping is what a store takes beside results: slots, indexes, locks. Of
// a store that is not there, nothing.
func bookkeeping(store string) (int64, error) {
	var p footprint
	for _, sub := range []string{"slots", "locks"} {
		q, err := measure(filepath.Join(store, sub))
		if err != nil {
			return 0, err
		}
		p.own += q.total()
	}
	entries, err := os.ReadDir(filepath.Join(store, "objects"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	for _, e := range entries {
		if err := p.addShard(filepath.Join(store, "objects", e.Name())); err != nil {
			return 0, err
		}
	}
	return p.own, nil
}

// addShard adds the folder of a shard and its index, without its results.
func (p *footprint) addShard(dir string) error {
	for _, path := range []string{dir, filepath.Join(dir, "index")} {
		info, err := os.Lstat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		p.add(info)
	}
	return nil
}
