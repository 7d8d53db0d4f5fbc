package stages

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"time"

	"vbp/pipeline/history"
	"vbp/stages/runs"
)

// rerunNote is what the journal of a run that makes things again by wish begins
// with, so that a run that was cut short (interrupted, killed, out of budget) is
// gone on with by the same command.
type rerunNote struct {
	Rerun []string  `json:"rerun"`
	Since time.Time `json:"since"` // what was made after it need not be made again
}

// cutShort is the data of the end of a run whose budget was spent.
const cutShort = `{"out_of_budget":true}`

// rerunSince is since when what words name has been made again: since the first
// of the newest runs below base that were to and did not come to their end;
// now if the newest run is none of these.
func rerunSince(base string, words []string, now time.Time) time.Time {
	dirs := runs.Of(base)
	if len(words) == 0 || len(dirs) == 0 {
		return now
	}
	records, _, err := history.Read(filepath.Join(dirs[len(dirs)-1], history.FileName))
	if err != nil || len(records) == 0 {
		return now
	}
	first, last := records[0], records[len(records)-1]
	var note rerunNote
	if json.Unmarshal(first.Data, &note) != nil || !slices.Equal(note.Rerun, words) {
		return now
	}
	if last.Kind == history.RunDone && last.Text != runs.Interrupted && string(last.Data) != cutShort {
		return now // it came to its end, whatever that was
	}
	return note.Since
}
