// Added to Go's package time for a server whose wall clock a test moves. The monotonic clock is as it was.

package time

import (
	"sync/atomic"
	"syscall"
)

// wallMoved is how many seconds the wall clock is ahead.
var wallMoved atomic.Int64

// What the file says that WALL_CLOCK_FILE names is read every 50 ms, and not by who asks for the time: timers ask where
// no system call may be made.
func init() {
	path, found := syscall.Getenv("WALL_CLOCK_FILE")
	if !found {
		return
	}
	go func() {
		for {
			wallMoved.Store(readMovedBy(path))
			Sleep(50 * Millisecond)
		}
	}()
}

func movedBy() int64 {
	return wallMoved.Load()
}

func readMovedBy(path string) int64 {
	file, err := open(path)
	if err != nil {
		return 0
	}
	defer closefd(file)
	var text [24]byte
	length, err := read(file, text[:])
	if err != nil {
		return 0
	}
	seconds, sign := int64(0), int64(1)
	for at, digit := range text[:length] {
		switch {
		case at == 0 && digit == '-':
			sign = -1
		case digit >= '0' && digit <= '9':
			seconds = seconds*10 + int64(digit-'0')
		default:
			return sign * seconds
		}
	}
	return sign * seconds
}
