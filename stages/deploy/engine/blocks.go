package engine

// blockPool is the KV cache of one instance: a fixed number of equal blocks
// with reference counts. A block that nobody refers to is free; it keeps its
// content, and can be found by the hash of that content, until it is handed
// out again. Free blocks are handed out least recently used first. The list
// of free blocks is linked through arrays, so that taking a block out of its
// middle (a prefix hit) costs nothing and nothing is allocated.
type blockPool struct {
	refs   []int32
	hashes []uint64         // content of the block; 0: not known or not whole
	byHash map[uint64]int32 // at most one block for each content
	next   []int32          // free list, with the sentinel at index len(refs)
	prev   []int32
	free   int
}

func newBlockPool(blocks int) *blockPool {
	p := &blockPool{
		refs:   make([]int32, blocks),
		hashes: make([]uint64, blocks),
		byHash: make(map[uint64]int32),
		next:   make([]int32, blocks+1),
		prev:   make([]int32, blocks+1),
	}
	end := int32(blocks)
	p.next[end], p.prev[end] = end, end
	for b := range int32(blocks) {
		p.append(b)
	}
	return p
}

// append puts a block that nobody refers to at the end of the free list, as
// the most recently used.
func (p *blockPool) append(b int32) {
	end := int32(len(p.refs))
	last := p.prev[end]
	p.next[last], p.prev[b] = b, last
	p.next[b], p.prev[end] = end, b
	p.free++
}

func (p *blockPool) unlink(b int32) {
	p.next[p.prev[b]] = p.next[b]
	p.prev[p.next[b]] = p.prev[b]
	p.free--
}

// take hands out the least recently used free block, which forgets its
// content. The caller has looked that one is free.
func (p *blockPool) take() int32 {
	b := p.next[len(p.refs)]
	p.unlink(b)
	if h := p.hashes[b]; h != 0 {
		delete(p.byHash, h)
		p.hashes[b] = 0
	}
	p.refs[b] = 1
	return b
}

// share adds a reference to a block found by its content.
func (p *blockPool) share(b int32) {
	if p.refs[b] == 0 {
		p.unlink(b)
	}
	p.refs[b]++
}

// release drops one reference from each block. The last ones of a request
// come first in the free list, since the head of a prompt is the part that
// others are likely to share.
func (p *blockPool) release(blocks []int32) {
	for i := len(blocks) - 1; i >= 0; i-- {
		b := blocks[i]
		if p.refs[b]--; p.refs[b] == 0 {
			p.append(b)
		}
	}
}

// register makes a block findable by its content. If another block already
// holds that content, this one stays anonymous.
func (p *blockPool) register(b int32, hash uint64) {
	if _, taken := p.byHash[hash]; taken {
		return
	}
	p.hashes[b] = hash
	p.byHash[hash] = b
}

// forget empties the prefix cache. It refuses while blocks are in use.
func (p *blockPool) forget() bool {
	if p.free != len(p.refs) {
		return false
	}
	clear(p.byHash)
	clear(p.hashes)
	return true
}

// mix is one step of a 64-bit hash chain (the finaliser of splitmix64, Steele
// et al. 2014, over the running value and the next input). It never gives 0,
// which stands for "no content".
func mix(h, v uint64) uint64 {
	h = (h ^ v) + 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	if h ^= h >> 31; h == 0 {
		return 1
	}
	return h
}
