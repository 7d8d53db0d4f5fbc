// Package collect stores measured requests and reads them back, its own and
// those of others.
//
// Writing: WriteSamples puts one sample.Table into one Parquet file, and
// WriteRows rows that come in parts (columns.go, write.go, footer.go,
// checksum.go); PointDir names its folder in the Hive-partitioned tree of a run
// (tree.go), and a Scraper records the servers' own metrics beside it
// (scrape.go, metrics.go). Reading: ReadSamples and ReadColumns (read.go) for
// one file, and OpenResults (results.go) for a folder of vbp's own samples, of
// vLLM bench files (vllm.go) or of DistServe's (distserve.go).
//
// Its neighbours are load, which fills tables, and analyze, which judges them.
// It knows neither how requests were sent nor any SLO. A file that is damaged
// or not what it should be is an error that names the file, the place and what
// to do, never a panic and never a made-up value.
package collect

// SamplesSchema names the layout of a samples file; SamplesFile is its name in
// the tree. MetricsSchema and MetricsFile are those of the server metrics.
const (
	SamplesSchema = "vbp.samples/v2"
	SamplesFile   = "samples.parquet"
	MetricsSchema = "vbp.metrics/v1"
	MetricsFile   = "metrics.parquet"
)
