package codec

// available lists the implementations that can run here, fastest first.
func available() []kernelID { return []kernelID{portable} }
