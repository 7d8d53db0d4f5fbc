package collect

import (
	"encoding/json"
	"errors"
	"fmt"
)

// readOwn reads the member vbp of a result that WriteVLLM wrote. ok is false
// if it has none; f is the lists beside it.
func readOwn(object json.RawMessage, f *vllmFile) (p Judged, run *Run, ok bool, err error) {
	var outer struct {
		VBP json.RawMessage `json:"vbp"`
	}
	var own map[string]json.RawMessage
	if json.Unmarshal(object, &outer) != nil || json.Unmarshal(outer.VBP, &own) != nil || own["schema"] == nil {
		return p, nil, false, nil
	}
	damaged := func(err error) error {
		return fmt.Errorf("its member vbp is damaged: %w; export the point again, or take the member out to read vLLM's lists alone", err)
	}
	p, sum, err := readExactMeta(own)
	if err != nil {
		return p, nil, true, damaged(err)
	}
	var lists string
	if json.Unmarshal(own[memberLists], &lists) != nil || lists != f.checksum() {
		return p, nil, true, errors.New("its lists were changed after vbp wrote them, and its member vbp was not: take the member vbp out to read the lists as they are now")
	}
	if err := readExactRows(own[memberRequests], p.Table, sum); err != nil {
		return p, nil, true, damaged(err)
	}
	if raw := own[memberRun]; raw != nil {
		run = &Run{}
		if err := json.Unmarshal(raw, run); err != nil {
			return p, nil, true, damaged(typeError(err))
		}
	}
	return p, run, true, nil
}
