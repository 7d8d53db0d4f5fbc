package collect

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	dto "github.com/prometheus/client_model/go"
)

// metricFields are the columns of a metrics file: one row for each value.
// labels is a JSON object, so that DuckDB's labels->>'le' reads it; null for
// none. t_ns counts from the point's start, as in the samples.
var metricFields = []arrow.Field{
	{Name: "t_ns", Type: arrow.PrimitiveTypes.Int64},
	{Name: "instance", Type: arrow.BinaryTypes.String},
	{Name: "role", Type: arrow.BinaryTypes.String},
	{Name: "metric", Type: arrow.BinaryTypes.String},
	{Name: "labels", Type: arrow.BinaryTypes.String, Nullable: true},
	{Name: "value", Type: arrow.PrimitiveTypes.Float64},
}

// Write stores what was scraped as a Parquet file, whole or not at all. It may
// be called once Run has returned; a file without rows says that nothing could
// be scraped.
func (s *Scraper) Write(path string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	metadata := arrow.NewMetadata(
		[]string{keySchema, keyStart},
		[]string{MetricsSchema, strconv.FormatInt(s.start.UnixNano(), 10)},
	)
	return publish(path, func(w io.Writer) error {
		left := s.rows
		return writeParquet(w, arrow.NewSchema(metricFields, &metadata), func(b *array.RecordBuilder) (int, error) {
			group := left[:min(groupRows, len(left))]
			left = left[len(group):]
			at := b.Field(0).(*array.Int64Builder)
			instance := b.Field(1).(*array.StringBuilder)
			role := b.Field(2).(*array.StringBuilder)
			metric := b.Field(3).(*array.StringBuilder)
			labels := b.Field(4).(*array.StringBuilder)
			value := b.Field(5).(*array.Float64Builder)
			for _, r := range group {
				at.Append(r.at)
				instance.Append(s.instances[r.instance].Name)
				role.Append(s.instances[r.instance].Role)
				metric.Append(r.metric)
				if r.labels == "" {
					labels.AppendNull()
				} else {
					labels.Append(r.labels)
				}
				value.Append(r.value)
			}
			return len(group), nil
		}, nil)
	})
}

// labelText is a metric's labels, and extra pairs of name and value, as a JSON
// object with sorted keys; "" for none.
func labelText(labels []*dto.LabelPair, extra ...string) string {
	if len(labels) == 0 && len(extra) == 0 {
		return ""
	}
	m := make(map[string]string, len(labels)+1)
	for _, l := range labels {
		m[l.GetName()] = l.GetValue()
	}
	for i := 0; i+1 < len(extra); i += 2 {
		m[extra[i]] = extra[i+1]
	}
	b, err := json.Marshal(m)
	if err != nil { // texts always marshal
		return fmt.Sprint(m)
	}
	return string(b)
}

// bound writes a bucket's bound or a quantile as Prometheus does.
func bound(v float64) string {
	if math.IsInf(v, 1) {
		return "+Inf"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
