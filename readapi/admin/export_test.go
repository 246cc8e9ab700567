package admin

// SetFewStreams changes how many things are looked up by name, and returns what
// changes that back.
func SetFewStreams(n int) (back func()) {
	before := fewStreams
	fewStreams = n
	return func() { fewStreams = before }
}
