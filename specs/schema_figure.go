package specs

func figuresSchema() *schema {
	return (&schema{Type: []string{"array"}, Items: figureSchema()}).
		says("Figures", "The drawings that plot stages make. Default: attainment of each mode, and a comparison if there is something to compare.").
		such([]any{map[string]any{"kind": "comparison", "file": "vllm_comparison_plots"}})
}

func figureSchema() *schema {
	s := closed(figureKeys, forms{
		"file":    text(`^\s*[^\s./\\\x00][^/\\\x00]*$`, "a base name: folders are said by stages.plot.dir").says("File", "Base name of the file, without extension. Default: vllm_benchmark_plots for attainment, vllm_comparison_plots for comparison."),
		"kind":    choice(figureKinds...).says("Kind", "One series with its three readings (attainment), or series against each other (comparison)."),
		"for":     choice(figureFors...).says("Drawings", "One drawing for each mode, or one of all. Default: mode for attainment, all for comparison."),
		"title":   anyText().says("Title", "Text above the drawing. Default: none."),
		"only":    choice(figureOnly...).says("Reading", "Which reading a comparison shows: requests that meet both objectives, or one of them.").or("both"),
		"per_gpu": boolean().says("Per GPU", "Whether the x axis is the request rate divided by the GPUs of a mode.").or(false),
		"series":  words(`\S`, "the name of an axis").notEmpty().says("Series", "Axes that tell series apart. Default: all but qps and repeat.").such([]string{"mode"}),
		"where":   text(`\S`, "an expression").says("Which series", "Expression over mode and axis[\"PATH\"]; only series for which it holds are drawn.").such("mode != 'reference'"),
		"xs":      choice(figureXs...).says("Rates", "Whether a comparison shows the rates that all series share, or each its own.").or("shared"),
	}, "kind")
	s.Type = []string{"object"}
	s.AllOf = []*schema{{
		If:   is("kind", "attainment"),
		Then: &schema{Properties: properties{{"only", nothing}, {"xs", nothing}}},
	}}
	return s
}
