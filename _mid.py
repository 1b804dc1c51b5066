import sys
import benchmarks.reliability.stream as s
s.SIZES["whole"]=400_000_000
s.AGAIN=400
from benchmarks.reliability.course import main
sys.exit(main(["stream","--output","/tmp/streaming-scratch/mid","--work","/tmp/streaming-scratch/midwork"]))
