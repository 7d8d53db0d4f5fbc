# Prints the attainment of both analyses, one line a rate. VBP_ANALYZE and
# VBP_STRICT are the folders of the two; analysis.csv is made for such use.
for step in "$VBP_ANALYZE" "$VBP_STRICT"; do
	echo "## $(sed -n 's/.*"ttft_ms": \([0-9.]*\).*/TTFT <= \1 ms/p' "$step/analysis.json" | head -n 1)"
	echo
	awk -F , '$4 == "rate" && $6 == "both" { printf "%s: %.0f %% at %s req/s\n", $1, 100 * $7, $5 }' "$step/analysis.csv"
	echo
done
