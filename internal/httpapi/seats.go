package httpapi

import (
	"sync"
	"time"

	"github.com/reactdjango-hub/backend/domain/problem"
)

const (
	// maxStreams bounds the streams and long polls of a process: each holds a connection
	// and some 150 KiB.
	maxStreams = 2000
	// maxStreamsPerCaller leaves room for the tabs of a person, or the workers of a service.
	maxStreamsPerCaller = 20
	// retrySeat is what who found no room is told to wait.
	retrySeat = 5 * time.Second
)

// seats count who follows events, each caller on its own and all together.
type seats struct {
	mu       sync.Mutex
	total    int
	byCaller map[string]int
}

// take has a seat until leave is called. Problems: too_many_streams, streams_full.
func (s *seats) take(caller string) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.byCaller[caller] >= maxStreamsPerCaller:
		return nil, problem.New(problem.Throttled, "too_many_streams", "You have %d event streams and waits open. Close one, or share one.", maxStreamsPerCaller).Retry(retrySeat)
	case s.total >= maxStreams:
		return nil, problem.New(problem.Unavailable, "streams_full", "Too many event streams are open here. Try again in a moment.").Retry(retrySeat)
	}
	if s.byCaller == nil {
		s.byCaller = map[string]int{}
	}
	s.byCaller[caller]++
	s.total++
	return sync.OnceFunc(func() { s.leave(caller) }), nil
}

func (s *seats) leave(caller string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.byCaller[caller]--; s.byCaller[caller] == 0 {
		delete(s.byCaller, caller)
	}
}

func (s *seats) taken() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}
